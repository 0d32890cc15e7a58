package grade

import (
	"fmt"
	"slices"
	"strings"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
	"go.starlark.net/starlark"
)

// A changeValue is an assay.Change as rules see it.
type changeValue struct {
	opaque
	change assay.Change
}

func newChange(c assay.Change) *changeValue { return &changeValue{change: c} }

// String returns change("OP KIND KEY").
func (v *changeValue) String() string {
	return fmt.Sprintf("change(%q)", string(v.change.Op)+" "+v.change.Kind+" "+v.change.Key)
}

// Type returns "Change".
func (v *changeValue) Type() string { return "Change" }

// evidence is the row that proves a finding about the change.
func (v *changeValue) evidence() assay.Evidence {
	detail := string(v.change.Op)
	if len(v.change.Fields) > 0 {
		detail += ": " + strings.Join(v.change.Fields, ", ")
	}
	if v.change.Kind == "package" && v.get("version") != "" {
		detail += " " + v.get("version")
	}
	return assay.Evidence{Kind: v.change.Kind, Key: v.change.Key, Detail: detail}
}

// get returns an attribute of the record as it is now; of a removed one, as it was.
func (v *changeValue) get(name string) string {
	if v.change.Op == assay.Removed {
		return v.change.Before[name]
	}
	return v.change.After[name]
}

// changeAttrs are the attributes of a change.
var changeAttrs = map[string]func(*changeValue) starlark.Value{
	"kind":    func(v *changeValue) starlark.Value { return starlark.String(v.change.Kind) },
	"key":     func(v *changeValue) starlark.Value { return starlark.String(v.change.Key) },
	"op":      func(v *changeValue) starlark.Value { return starlark.String(v.change.Op) },
	"before":  func(v *changeValue) starlark.Value { return stringDict(v.change.Before) },
	"after":   func(v *changeValue) starlark.Value { return stringDict(v.change.After) },
	"fields":  func(v *changeValue) starlark.Value { return stringList(v.change.Fields) },
	"text":    func(v *changeValue) starlark.Value { return starlark.String(v.change.Text) },
	"group":   func(v *changeValue) starlark.Value { return starlark.String(v.change.Group) },
	"plus":    func(v *changeValue) starlark.Value { return stringList(diffLines(v.change.Text, '+')) },
	"get":     func(v *changeValue) starlark.Value { return builtin("get", v.getWord) },
	"changed": func(v *changeValue) starlark.Value { return builtin("changed", v.changed) },
	"under":   func(v *changeValue) starlark.Value { return builtin("under", v.under) },
	"match":   func(v *changeValue) starlark.Value { return builtin("match", v.match) },
}

// Attr returns an attribute of changeAttrs.
func (v *changeValue) Attr(name string) (starlark.Value, error) {
	if get := changeAttrs[name]; get != nil {
		return get(v), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (v *changeValue) AttrNames() []string { return sortedKeys(changeAttrs) }

// diffLines returns the lines that a unified diff adds ('+') or takes away
// ('-'). Its two header lines come before the first hunk and are left out.
func diffLines(diff string, sign byte) []string {
	var out []string
	body := !strings.HasPrefix(diff, "---")
	for line := range strings.Lines(diff) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "@@") {
			body = true
		} else if body && line != "" && line[0] == sign {
			out = append(out, line[1:])
		}
	}
	return out
}

// getWord is change.get(name, default="").
func (v *changeValue) getWord(c *call) (starlark.Value, error) {
	name, instead := "", ""
	if err := c.unpack("name", &name, "default?", &instead); err != nil {
		return nil, err
	}
	return starlark.String(or(v.get(name), instead)), nil
}

// changed is change.changed(*fields): one of these attributes differs.
func (v *changeValue) changed(c *call) (starlark.Value, error) {
	fields, err := c.strings()
	for _, f := range fields {
		if slices.Contains(v.change.Fields, f) {
			return starlark.True, nil
		}
	}
	return starlark.False, err
}

// under is change.under(*folders): the key is one of these paths or in one of them.
func (v *changeValue) under(c *call) (starlark.Value, error) {
	folders, err := c.strings()
	for _, f := range folders {
		f = strings.TrimSuffix(f, "/")
		if v.change.Key == f || strings.HasPrefix(v.change.Key, f+"/") {
			return starlark.True, nil
		}
	}
	return starlark.False, err
}

// match is change.match(*globs): the key matches one of these globs.
func (v *changeValue) match(c *call) (starlark.Value, error) {
	globs, err := c.strings()
	if err != nil {
		return nil, err
	}
	for _, g := range globs {
		if !doublestar.ValidatePattern(g) {
			return nil, c.errorf("got %q, want a glob such as \"/etc/**\"", g)
		}
		if matchGlob(g, v.change.Key) {
			return starlark.True, nil
		}
	}
	return starlark.False, nil
}

// strings returns the arguments, which must all be strings.
func (c *call) strings() ([]string, error) {
	if len(c.kwargs) > 0 {
		return nil, c.errorf("got the argument %s=, want strings", word(c.kwargs[0][0]))
	}
	out := make([]string, 0, len(c.args))
	for _, v := range c.args {
		s, ok := starlark.AsString(v)
		if !ok {
			return nil, c.errorf("got %s, want strings", v.Type())
		}
		out = append(out, s)
	}
	return out, nil
}
