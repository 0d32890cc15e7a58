package grade

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"assay"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// A runValue is one command of the subject as rules see it.
type runValue struct {
	opaque
	exec assay.Exec
	step int // seq of its step; without one, its number
}

func newRun(e assay.Exec, i int, steps []int) *runValue {
	v := &runValue{exec: e, step: i + 1}
	if i < len(steps) {
		v.step = steps[i]
	}
	return v
}

// String returns run("COMMAND").
func (v *runValue) String() string { return fmt.Sprintf("run(%q)", v.command()) }

// Type returns "Run".
func (v *runValue) Type() string { return "Run" }

func (v *runValue) command() string { return strings.Join(v.exec.Command, " ") }

// evidence is the row that proves a finding about the command.
func (v *runValue) evidence() assay.Evidence {
	how := "exit code " + strconv.Itoa(v.exec.Code)
	switch {
	case v.exec.TimedOut:
		how = "timed out"
	case v.exec.Signal != "":
		how = v.exec.Signal
	}
	return v.row(how + ": " + v.command())
}

func (v *runValue) row(detail string) assay.Evidence {
	return assay.Evidence{Kind: "exec", Key: strconv.Itoa(v.step), Detail: detail}
}

// runAttrs are the attributes of a run.
var runAttrs = map[string]func(*runValue) starlark.Value{
	"command":     func(v *runValue) starlark.Value { return starlark.String(v.command()) },
	"user":        func(v *runValue) starlark.Value { return starlark.String(v.exec.User) },
	"code":        func(v *runValue) starlark.Value { return starlark.MakeInt(v.exec.Code) },
	"signal":      func(v *runValue) starlark.Value { return starlark.String(v.exec.Signal) },
	"timed_out":   func(v *runValue) starlark.Value { return starlark.Bool(v.exec.TimedOut) },
	"stdout":      func(v *runValue) starlark.Value { return starlark.String(v.exec.Stdout) },
	"stderr":      func(v *runValue) starlark.Value { return starlark.String(v.exec.Stderr) },
	"cpu_seconds": func(v *runValue) starlark.Value { return starlark.Float(v.exec.CPU) },
	"peak_memory": func(v *runValue) starlark.Value { return starlark.MakeInt64(v.exec.PeakMemory) },
	"step":        func(v *runValue) starlark.Value { return starlark.MakeInt(v.step) },
	"orphans":     func(v *runValue) starlark.Value { return v.orphans() },
	"grep":        func(v *runValue) starlark.Value { return builtin("grep", v.grep) },
}

// Attr returns an attribute of runAttrs.
func (v *runValue) Attr(name string) (starlark.Value, error) {
	if get := runAttrs[name]; get != nil {
		return get(v), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (v *runValue) AttrNames() []string { return sortedKeys(runAttrs) }

func (v *runValue) orphans() starlark.Value {
	var list []starlark.Value
	for _, p := range v.exec.Orphans {
		list = append(list, starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
			"pid": starlark.MakeInt(p.PID), "ppid": starlark.MakeInt(p.PPID),
			"user": starlark.String(p.User), "command": starlark.String(p.Command),
		}))
	}
	return frozen(starlark.NewList(list))
}

// grep is run.grep(pattern): the lines of stdout, then stderr, that match.
func (v *runValue) grep(c *call) (starlark.Value, error) {
	pattern := ""
	if err := c.unpack("pattern", &pattern); err != nil {
		return nil, err
	}
	re, err := c.compile(pattern)
	if err != nil {
		return nil, err
	}
	var out []*matchValue
	for _, s := range []struct{ name, text string }{{"stdout", v.exec.Stdout}, {"stderr", v.exec.Stderr}} {
		for _, m := range grepLines(re, s.text, nil, maxMatches-len(out)) {
			m.path, m.row = s.name, v.row(fmt.Sprintf("%s line %d: %s", s.name, m.line, m.text))
			out = append(out, m)
		}
	}
	return frozenList(out), nil
}

// A matchValue is one line that a pattern matched.
type matchValue struct {
	opaque
	path   string
	line   int // from 1
	text   string
	groups []string // the whole match first
	row    assay.Evidence
}

// evidence is the row that shows the line.
func (v *matchValue) evidence() assay.Evidence { return v.row }

// String returns match("PATH:LINE").
func (v *matchValue) String() string {
	return fmt.Sprintf("match(%q)", v.path+":"+strconv.Itoa(v.line))
}

// Type returns "Match".
func (v *matchValue) Type() string { return "Match" }

// Attr returns path, line, text or groups.
func (v *matchValue) Attr(name string) (starlark.Value, error) {
	switch name {
	case "path":
		return starlark.String(v.path), nil
	case "line":
		return starlark.MakeInt(v.line), nil
	case "text":
		return starlark.String(v.text), nil
	case "groups":
		return stringTuple(v.groups), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (v *matchValue) AttrNames() []string { return []string{"groups", "line", "path", "text"} }

// grepLines returns the lines of text that match, at most limit, without those
// that skip is true for.
func grepLines(re *regexp.Regexp, text string, skip func(string) bool, limit int) []*matchValue {
	var out []*matchValue
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if len(out) >= limit {
			break
		}
		if skip != nil && skip(line) {
			continue
		}
		if m := re.FindStringSubmatch(line); m != nil {
			out = append(out, &matchValue{line: n, text: cut(strings.TrimSpace(line), maxMessage), groups: m})
		}
	}
	return out
}
