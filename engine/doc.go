package engine

import (
	"fmt"
	"strings"

	"assay/near"
)

// Stub renders the builtins and the types of their values as a typed Python
// stub, from which editors complete and check.
func Stub(bs []Builtin, types ...*Type) string {
	var b strings.Builder
	b.WriteString("# Generated from the builtins by go test ./builtins -update. Do not edit.\nfrom typing import Any, Callable\n")
	for _, t := range types {
		fmt.Fprintf(&b, "\n\nclass %s:\n    \"\"\"%s\"\"\"\n", t.Name, t.Doc)
		for _, a := range t.Attrs {
			stubAttr(&b, a)
		}
	}
	for _, f := range bs {
		fmt.Fprintf(&b, "\n\ndef %s:\n", f.Signature())
		stubDoc(&b, "    ", f.Doc, f.Params)
	}
	return b.String()
}

func stubAttr(b *strings.Builder, a Attr) {
	if !a.Method {
		fmt.Fprintf(b, "\n    %s\n    \"\"\"%s\"\"\"\n", a.Signature(), a.Doc)
		return
	}
	fmt.Fprintf(b, "\n    def %s:\n", strings.NewReplacer("(*", "(self, *", "()", "(self)", "(", "(self, ").Replace(a.Signature()))
	stubDoc(b, "        ", a.Doc, a.Params)
}

func stubDoc(b *strings.Builder, indent, doc string, ps []Param) {
	fmt.Fprintf(b, "%s\"\"\"%s\n", indent, strings.ReplaceAll(doc, "\n", "\n"+indent))
	if len(ps) > 0 {
		fmt.Fprintf(b, "\n%sArgs:\n", indent)
	}
	for _, p := range ps {
		fmt.Fprintf(b, "%s  %s: %s\n", indent, p.Name, p.Doc)
	}
	fmt.Fprintf(b, "%s\"\"\"\n", indent)
}

// Doc returns what "assay doc NAME" prints about a verb or a type. ok is false
// if there is none of that name; then nearest is the most similar one, or "".
func Doc(name string, bs []Builtin, types ...*Type) (text string, ok bool, nearest string) {
	var names []string
	for _, b := range bs {
		if b.Name == name {
			return b.text(), true, ""
		}
		names = append(names, b.Name)
	}
	for _, t := range types {
		if t.Name == name {
			return t.text(), true, ""
		}
		names = append(names, t.Name)
	}
	return "", false, near.Name(name, names)
}

func (b Builtin) text() string {
	return b.Signature() + "\n\n" + indent(b.Doc) + "\n" + paramText(b.Params)
}

func paramText(ps []Param) string {
	var s strings.Builder
	for _, p := range ps {
		fmt.Fprintf(&s, "\n    %-10s %s%s", p.Name, p.Doc, p.note())
	}
	if len(ps) > 0 {
		s.WriteString("\n")
	}
	return s.String()
}

// note says what a reader cannot see from the name.
func (p Param) note() string {
	switch {
	case p.Optional && p.Default != "None":
		return " (default " + p.Default + ")"
	case p.Optional:
		return " (optional)"
	}
	return ""
}

func (t *Type) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n\n%s\n", t.Name, indent(t.Doc))
	for _, a := range t.Attrs {
		fmt.Fprintf(&s, "\n    .%s\n        %s\n", a.Signature(), a.Doc)
		for _, p := range a.Params {
			fmt.Fprintf(&s, "          %-8s %s%s\n", p.Name, p.Doc, p.note())
		}
	}
	return s.String()
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// Reference renders the reference page of the verbs and their values, in Markdown.
func Reference(bs []Builtin, types ...*Type) string {
	var s strings.Builder
	s.WriteString("# Reference\n\nWhat a script can call and what it gets. `assay doc NAME` prints one entry.\n" +
		"This page is made from the code: `go test ./builtins -update`.\n\n## Verbs\n")
	for _, b := range bs {
		fmt.Fprintf(&s, "\n### %s\n\n```python\n%s\n```\n\n%s\n", b.Name, b.Signature(), b.Doc)
		paramTable(&s, b.Params)
	}
	s.WriteString("\n## Values\n")
	for _, t := range types {
		fmt.Fprintf(&s, "\n### %s\n\n%s\n\n| attribute | what it is |\n|---|---|\n", t.Name, t.Doc)
		for _, a := range t.Attrs {
			fmt.Fprintf(&s, "| `%s` | %s |\n", cellText(a.Signature()), cellText(a.Doc))
		}
	}
	return s.String()
}

func paramTable(s *strings.Builder, ps []Param) {
	if len(ps) == 0 {
		return
	}
	s.WriteString("\n| parameter | type | default | what it is |\n|---|---|---|---|\n")
	for _, p := range ps {
		def := ""
		if p.Optional {
			def = "`" + p.Default + "`"
		}
		fmt.Fprintf(s, "| %s | `%s` | %s | %s |\n", p.Name, cellText(p.Type), def, cellText(p.Doc))
	}
}

// cellText keeps a text from ending its table cell.
func cellText(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s)
}
