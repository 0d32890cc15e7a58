package report

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"assay"
)

// canary is what the hostile texts carry, to be found again in the rendered page.
const canary = "Q7Q"

// attacks are texts that would break out of where they are shown.
var attacks = []string{
	"`%s`", "``%s", "%s`", "` %s `", "```\n# %s\n```", "\n# %s", "\n\n---\n%s", "\n- %s", "1. %s", "- %s", "+ %s", "> %s", "    %s", "\t%s", "%s\n===",
	"<script>%s</script>", "</code><b>%s</b>", "<!-- %s", "&lt;%s", "[%s](javascript:alert(1))", "![%s](http://x.example/p.png)", "<http://%s.example>",
	"http://%s.example/", "www.%s.example", "%s@x.example", "[x]: http://%s.example", "|%s|", "| %s", "a \\| %s", "**%s**", "~~%s~~", "_%s_", "$%s$", "- [ ] %s",
	"\x1b[31m%s", "\x1b]8;;http://x\x07%s", "\r%s", "\u202e%s", "\u2066%s", "\u2028%s", "\ufeff%s", "\x00%s", "\xff\xfe%s", "\u200b%s", "\x7f%s", "\u009b31m%s",
	"%s~~~", "~~~\n%s", "\\`%s\\`", "[^1]: %s", "%s\\", "%s|", "#%s#", "@%s", "``` %s", " %s ", "%s  ", "  \n%s",
}

// attack is one of the texts, or several, or any text at all.
func attack(t *rapid.T) string {
	one := rapid.Custom(func(t *rapid.T) string { return fmt.Sprintf(rapid.SampledFrom(attacks).Draw(t, "attack"), canary) })
	return rapid.OneOf(one, rapid.Custom(func(t *rapid.T) string { return one.Draw(t, "a") + one.Draw(t, "b") }), rapid.StringN(0, 40, 200), rapid.Just("")).Draw(t, "text")
}

// parse reads Markdown as a web page would be made of it, with tables, links
// that are guessed, strikethrough and task lists.
func parse(markdown []byte) ast.Node {
	return goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(markdown))
}

// Whatever a guest writes, a code span, a line of prose and a block stay what
// they are and show it on one page with nothing else on it.
func TestTextCannotBreakOut(t *testing.T) {
	for _, a := range attacks {
		check(t, fmt.Sprintf(a, canary))
	}
	rapid.Check(t, func(t *rapid.T) { check(t, attack(t)) })
}

// check fails when hostile text breaks out of a span, of prose or of a block.
func check(t interface{ Errorf(string, ...any) }, hostile string) {
	for name, c := range map[string]struct{ markdown, want string }{
		"span":       {"- " + code(hostile) + " end", "List ListItem TextBlock CodeSpan"},
		"prose":      {"- x " + prose(hostile) + " end", "List ListItem TextBlock"},
		"cell":       {"| a | b |\n| - | - |\n| " + tableCode(hostile) + " | x |", "Table TableHeader TableCell TableCell TableRow TableCell CodeSpan TableCell"},
		"prose cell": {"| a | b |\n| - | - |\n| x" + prose(hostile) + " | x |", "Table TableHeader TableCell TableCell TableRow TableCell TableCell"},
		"block":      {"a\n\n" + block(hostile) + "\nb", "Paragraph FencedCodeBlock Paragraph"},
		"heading":    {"# x " + prose(hostile), "Heading"},
	} {
		if hostile == "" {
			continue // "(none)"
		}
		if got := outline(parse([]byte(c.markdown))); got != c.want {
			t.Errorf("%s of %q:\n%s\ngot %s, wanted %s", name, hostile, c.markdown, got, c.want)
		}
	}
}

// outline names the nodes of a document, without the texts.
func outline(doc ast.Node) string {
	var names []string
	ast.Walk(doc, func(n ast.Node, enter bool) (ast.WalkStatus, error) {
		if kind := n.Kind(); enter && kind != ast.KindDocument && kind != ast.KindText && kind != ast.KindString {
			names = append(names, kind.String())
		}
		return ast.WalkContinue, nil
	})
	return strings.Join(names, " ")
}

// fillWith sets every string below v to a hostile text and every number to any.
func fillWith(t *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(attack(t))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(-3, 1<<40).Draw(t, "n"))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "f"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "b"))
	case reflect.Pointer:
		if v.Type().Elem() == reflect.TypeFor[assay.Cell]() || rapid.Bool().Draw(t, "some") {
			v.Set(reflect.New(v.Type().Elem()))
			fillWith(t, v.Elem(), depth)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, "len")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillWith(t, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillWith(t, key, depth+1)
		fillWith(t, value, depth+1)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(day.Add(time.Duration(rapid.IntRange(0, 1e9).Draw(t, "time")))))
			return
		}
		for i := range v.NumField() {
			fillWith(t, v.Field(i), depth)
		}
	}
}

// likely gives the words that a report looks at values that it knows.
func likely(t *rapid.T, run *assay.Run) {
	for _, c := range run.Cells {
		for i := range c.Grades {
			c.Grades[i].ID = i + 1
			for j := range c.Grades[i].Findings {
				f := &c.Grades[i].Findings[j]
				f.Axis = rapid.SampledFrom([]string{"execution", "cleanliness", "security", "portability", f.Axis}).Draw(t, "axis")
				f.Rule = rapid.SampledFrom([]string{"hardcoded-home-paths", "services-added", f.Rule}).Draw(t, "rule")
			}
		}
		for i := range c.Diffs {
			for j := range c.Diffs[i].Changes {
				h := &c.Diffs[i].Changes[j]
				h.Kind = rapid.SampledFrom([]string{"file", "package", "process", "listener", h.Kind}).Draw(t, "kind")
				h.Op = rapid.SampledFrom([]assay.Op{assay.Added, assay.Removed, assay.Modified}).Draw(t, "op")
			}
		}
	}
}

// Any run renders in every format, and no text of it becomes a link, a picture,
// a heading or HTML, or reaches a terminal as a control character.
func TestAnyRunRenders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var run assay.Run
		fillWith(t, reflect.ValueOf(&run).Elem(), 0)
		likely(t, &run)
		var markdown, terminal bytes.Buffer
		fatal(t, Markdown(&markdown, run))
		fatal(t, JSON(io.Discard, run))
		fatal(t, Summary(&terminal, run, rapid.IntRange(0, 120).Draw(t, "width"), false))
		fatal(t, History(&terminal, []assay.RunSummary{{ID: run.ID, Scripts: run.Command}}, 0, false))
		if bad := controls(terminal.String()) + controls(markdown.String()); bad != "" {
			t.Errorf("control characters %s", bad)
		}
		inspect(t, markdown.Bytes())
	})
}

func fatal(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// controls returns the characters of text that a terminal would obey.
func controls(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsGraphic(r) && r != unicode.ReplacementChar || r == unicode.ReplacementChar {
			return -1
		}
		return 'x'
	}, text)
}

// inspect fails when the page holds what a report never makes by itself.
func inspect(t *rapid.T, markdown []byte) {
	ast.Walk(parse(markdown), func(n ast.Node, enter bool) (ast.WalkStatus, error) {
		switch n.(type) {
		case *ast.Link, *ast.AutoLink, *ast.Image, *ast.HTMLBlock, *ast.RawHTML, *ast.CodeBlock, *ast.Blockquote, *east.Strikethrough, *east.TaskCheckBox:
			t.Errorf("the page holds a %s:\n%s", n.Kind(), markdown)
		case *ast.ListItem:
			if n.Parent().Parent().Kind() != ast.KindDocument {
				t.Errorf("a list within a list:\n%s", markdown)
			}
		}
		return ast.WalkContinue, nil
	})
}

// FuzzMarkdown looks for text that breaks out of its place.
func FuzzMarkdown(f *testing.F) {
	for _, a := range attacks {
		f.Add(fmt.Sprintf(a, canary))
	}
	f.Fuzz(func(t *testing.T, hostile string) { check(t, hostile) })
}

// Text is bounded: a megabyte of a guest does not make a megabyte of report.
func TestTextIsBounded(t *testing.T) {
	huge := strings.Repeat("a`", 1<<19)
	run := assay.Run{Cells: []*assay.Cell{{Failure: &assay.Failure{Message: huge, Detail: strings.Repeat(huge[:200]+"\n", 5000)}}}}
	for range 3000 {
		run.Cells[0].Diffs = append(run.Cells[0].Diffs, assay.Diff{Changes: []assay.Change{{Kind: "unit", Key: huge[:5000], Op: assay.Added}}})
	}
	var b bytes.Buffer
	must(t, Markdown(&b, run))
	must(t, Summary(&b, run, 0, false))
	if b.Len() > 200_000 {
		t.Errorf("the report has %d bytes", b.Len())
	}
}
