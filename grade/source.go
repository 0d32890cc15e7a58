package grade

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"strconv"
	"strings"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
	"go.starlark.net/starlark"
)

// A SubjectValue is a Subject as scripts and rules see it.
type SubjectValue struct {
	opaque
	subject *Subject
}

// NewSubjectValue returns s as scripts and rules see it. s must not change afterwards.
func NewSubjectValue(s *Subject) *SubjectValue { return &SubjectValue{subject: s} }

// Subject returns what v shows.
func (v *SubjectValue) Subject() *Subject { return v.subject }

// String returns subject("NAME").
func (v *SubjectValue) String() string { return fmt.Sprintf("subject(%q)", v.subject.Name) }

// Type returns "Subject".
func (v *SubjectValue) Type() string { return "Subject" }

// subjectAttrs are the attributes of a subject.
var subjectAttrs = map[string]func(*SubjectValue) starlark.Value{
	"name":     func(v *SubjectValue) starlark.Value { return starlark.String(v.subject.Name) },
	"files":    func(v *SubjectValue) starlark.Value { return v.files() },
	"meta":     func(v *SubjectValue) starlark.Value { return stringDict(v.subject.Meta) },
	"entry":    func(v *SubjectValue) starlark.Value { return starlark.String(v.subject.Entry) },
	"docs":     func(v *SubjectValue) starlark.Value { return starlark.String(v.docs()) },
	"file":     func(v *SubjectValue) starlark.Value { return builtin("file", v.file) },
	"grep":     func(v *SubjectValue) starlark.Value { return builtin("grep", v.grep) },
	"mentions": func(v *SubjectValue) starlark.Value { return builtin("mentions", v.mentions) },
	"describe": func(v *SubjectValue) starlark.Value { return builtin("describe", v.describe) },
}

// Attr returns an attribute of subjectAttrs.
func (v *SubjectValue) Attr(name string) (starlark.Value, error) {
	if get := subjectAttrs[name]; get != nil {
		return get(v), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (v *SubjectValue) AttrNames() []string { return sortedKeys(subjectAttrs) }

func (v *SubjectValue) files() *starlark.List {
	list := make([]*fileValue, 0, len(v.subject.Files))
	for _, f := range v.subject.Files {
		list = append(list, &fileValue{file: f})
	}
	return frozenList(list)
}

// docs is the text of everything written for people: README*, *.md, docs/.
func (v *SubjectValue) docs() string {
	var b strings.Builder
	for _, f := range v.subject.Files {
		if isDoc(f.Path) {
			b.WriteString(f.Text)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func isDoc(p string) bool {
	base := strings.ToLower(path.Base(p))
	switch path.Ext(base) {
	case ".md", ".rst", ".adoc":
		return true
	}
	return strings.HasPrefix(base, "readme") || base == "install" || base == "install.txt" ||
		strings.HasPrefix(p, "docs/") && path.Ext(base) == ".txt"
}

// mentions is subject.mentions(word): the docs name it, as a word of its own.
func (v *SubjectValue) mentions(c *call) (starlark.Value, error) {
	name := ""
	if err := c.unpack("word", &name); err != nil {
		return nil, err
	}
	return starlark.Bool(mentioned(v.docs(), name)), nil
}

// mentioned reports whether text has name as a word of its own, in any case. Letters,
// digits, - and + are parts of a word; a dot is one between two of them.
func mentioned(text, name string) bool {
	if name == "" {
		return false
	}
	re := regexp.MustCompile(`(?i)(^|[^\w+-]|[^\w]-)` + regexp.QuoteMeta(name) + `($|[^\w+-])`)
	return re.MatchString(text)
}

// file is subject.file(path): that file, or None.
func (v *SubjectValue) file(c *call) (starlark.Value, error) {
	name := ""
	if err := c.unpack("path", &name); err != nil {
		return nil, err
	}
	for _, f := range v.subject.Files {
		if f.Path == name {
			return &fileValue{file: f}, nil
		}
	}
	return starlark.None, nil
}

// grep is subject.grep(pattern, files="**", comments=True): the lines that match an
// RE2 pattern, in the files whose path matches a glob. comments=False leaves out
// lines that are nothing but a comment.
func (v *SubjectValue) grep(c *call) (starlark.Value, error) {
	pattern, glob, comments := "", "**", true
	if err := c.unpack("pattern", &pattern, "files?", &glob, "comments?", &comments); err != nil {
		return nil, err
	}
	re, err := c.compile(pattern)
	if err != nil {
		return nil, err
	}
	if !doublestar.ValidatePattern(glob) {
		return nil, c.errorf("for parameter files: got %q, want a glob such as \"**/*.sh\"", glob)
	}
	var out []*matchValue
	for _, f := range v.subject.Files {
		if matchGlob(glob, f.Path) {
			out = append(out, grepFile(re, f, comments, maxMatches-len(out))...)
		}
	}
	return frozenList(out), nil
}

// grep is file.grep(pattern, comments=True).
func (v *fileValue) grep(c *call) (starlark.Value, error) {
	pattern, comments := "", true
	if err := c.unpack("pattern", &pattern, "comments?", &comments); err != nil {
		return nil, err
	}
	re, err := c.compile(pattern)
	if err != nil {
		return nil, err
	}
	return frozenList(grepFile(re, v.file, comments, maxMatches)), nil
}

func grepFile(re *regexp.Regexp, f SubjectFile, comments bool, limit int) []*matchValue {
	var skip func(string) bool
	if !comments {
		skip = isComment
	}
	matches := grepLines(re, f.Text, skip, limit)
	for _, m := range matches {
		m.path = f.Path
		m.row = assay.Evidence{Kind: "source", Key: f.Path + ":" + strconv.Itoa(m.line), Detail: m.text}
	}
	return matches
}

// isComment reports whether a line of a script is a comment and nothing else.
func isComment(line string) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//")
}

// describe is subject.describe(meta={}, entry=""): the same subject with what a
// script found out about it.
func (v *SubjectValue) describe(c *call) (starlark.Value, error) {
	var meta *starlark.Dict
	s := *v.subject
	if err := c.unpack("meta?", &meta, "entry?", &s.Entry); err != nil {
		return nil, err
	}
	if meta != nil {
		s.Meta = maps.Clone(s.Meta)
		for _, kv := range meta.Items() {
			if s.Meta == nil {
				s.Meta = map[string]string{}
			}
			s.Meta[word(kv[0])] = word(kv[1])
		}
	}
	return NewSubjectValue(&s), nil
}

// A fileValue is one file of a subject.
type fileValue struct {
	opaque
	file SubjectFile
}

// String returns file("PATH").
func (v *fileValue) String() string { return fmt.Sprintf("file(%q)", v.file.Path) }

// Type returns "SubjectFile".
func (v *fileValue) Type() string { return "SubjectFile" }

// evidence is the row that names the file.
func (v *fileValue) evidence() assay.Evidence {
	return assay.Evidence{Kind: "source", Key: v.file.Path}
}

// fileAttrs are the attributes of a subject's file.
var fileAttrs = map[string]func(*fileValue) starlark.Value{
	"path":     func(v *fileValue) starlark.Value { return starlark.String(v.file.Path) },
	"name":     func(v *fileValue) starlark.Value { return starlark.String(path.Base(v.file.Path)) },
	"mode":     func(v *fileValue) starlark.Value { return starlark.MakeInt(int(v.file.Mode)) },
	"size":     func(v *fileValue) starlark.Value { return starlark.MakeInt64(v.file.Size) },
	"text":     func(v *fileValue) starlark.Value { return starlark.String(v.file.Text) },
	"digest":   func(v *fileValue) starlark.Value { return starlark.String(v.file.Digest) },
	"language": func(v *fileValue) starlark.Value { return starlark.String(language(v.file)) },
	"is_doc":   func(v *fileValue) starlark.Value { return starlark.Bool(isDoc(v.file.Path)) },
	"grep":     func(v *fileValue) starlark.Value { return builtin("grep", v.grep) },
}

// Attr returns an attribute of fileAttrs.
func (v *fileValue) Attr(name string) (starlark.Value, error) {
	if get := fileAttrs[name]; get != nil {
		return get(v), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (v *fileValue) AttrNames() []string { return sortedKeys(fileAttrs) }

// shebang finds the interpreter's name in the first line of a script.
var shebang = regexp.MustCompile(`^#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:\S*/)?([a-z]+)`)

// languages names the language of a script by its ending.
var languages = map[string]string{
	".sh": "sh", ".bash": "bash", ".zsh": "zsh", ".py": "python", ".js": "node", ".mjs": "node", ".ts": "node", ".rb": "ruby", ".pl": "perl",
}

// language is what a file is written in: sh, bash, python, node …; "" for no script.
func language(f SubjectFile) string {
	if m := shebang.FindStringSubmatch(f.Text); m != nil {
		return m[1]
	}
	if f.Text == "" {
		return ""
	}
	return languages[path.Ext(f.Path)]
}
