package grade

import (
	"assay"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// A contextValue is the ctx that a rule gets: everything that it may look at.
type contextValue struct {
	opaque
	in         Input
	user, home string
	subject    *SubjectValue // nil: unknown
	changes    []*changeValue
	left       int // changes that are too many to look at
	runs       []*runValue
}

// has reports whether the input has what a rule needs.
func (c *contextValue) has(needs []string) bool {
	for _, n := range needs {
		if n == "subject" && c.subject == nil || n == "run" && len(c.runs) == 0 {
			return false
		}
	}
	return true
}

// String returns ctx.
func (c *contextValue) String() string { return "ctx" }

// Type returns "Context".
func (c *contextValue) Type() string { return "Context" }

// contextAttrs are the attributes of ctx: what a rule may look at.
var contextAttrs = map[string]func(*contextValue) starlark.Value{
	"changes":  func(c *contextValue) starlark.Value { return c.pick("", "") },
	"added":    func(c *contextValue) starlark.Value { return c.selector("added", assay.Added) },
	"removed":  func(c *contextValue) starlark.Value { return c.selector("removed", assay.Removed) },
	"modified": func(c *contextValue) starlark.Value { return c.selector("modified", assay.Modified) },
	"runs":     func(c *contextValue) starlark.Value { return frozenList(c.runs) },
	"machine":  func(c *contextValue) starlark.Value { return machineStruct(c.in.Machine) },
	"home":     func(c *contextValue) starlark.Value { return starlark.String(c.home) },
	"user":     func(c *contextValue) starlark.Value { return starlark.String(c.user) },
	"finished": func(c *contextValue) starlark.Value { return starlark.Bool(c.in.Finished) },
	"params":   func(c *contextValue) starlark.Value { return stringDict(c.in.Params) },
	"match":    func(c *contextValue) starlark.Value { return builtin("match", matchText) },
	"subject": func(c *contextValue) starlark.Value {
		if c.subject == nil {
			return starlark.None
		}
		return c.subject
	},
}

// Attr returns an attribute of contextAttrs.
func (c *contextValue) Attr(name string) (starlark.Value, error) {
	if get := contextAttrs[name]; get != nil {
		return get(c), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (c *contextValue) AttrNames() []string { return sortedKeys(contextAttrs) }

// pick lists the changes of an op and a kind; "" is any.
func (c *contextValue) pick(op assay.Op, kind string) *starlark.List {
	var out []*changeValue
	for _, ch := range c.changes {
		if (op == "" || ch.change.Op == op) && (kind == "" || ch.change.Kind == kind) {
			out = append(out, ch)
		}
	}
	return frozenList(out)
}

// selector is ctx.added(kind="") and its like.
func (c *contextValue) selector(name string, op assay.Op) starlark.Value {
	return builtin(name, func(call *call) (starlark.Value, error) {
		kind := ""
		if err := call.unpack("kind?", &kind); err != nil {
			return nil, err
		}
		return c.pick(op, kind), nil
	})
}

// matchText is ctx.match(pattern, text): the groups of the first match of an
// RE2 pattern, the whole match first; or None.
func matchText(c *call) (starlark.Value, error) {
	pattern, text := "", ""
	if err := c.unpack("pattern", &pattern, "text", &text); err != nil {
		return nil, err
	}
	re, err := c.compile(pattern)
	if err != nil {
		return nil, err
	}
	m := re.FindStringSubmatch(text)
	if m == nil {
		return starlark.None, nil
	}
	return stringTuple(m), nil
}

func machineStruct(m assay.Machine) starlark.Value {
	os := starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"id": starlark.String(m.OS.ID), "version": starlark.String(m.OS.Version), "name": starlark.String(m.OS.Name),
		"kernel": starlark.String(m.OS.Kernel), "arch": starlark.String(m.OS.Arch),
	})
	return frozen(starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"id": starlark.String(m.ID), "image": starlark.String(m.Image), "driver": starlark.String(m.Driver), "os": os,
		"accel": starlark.String(m.Accel), "cpus": starlark.MakeInt(m.CPUs), "memory": starlark.MakeInt64(m.Memory),
		"disk": starlark.MakeInt64(m.Disk), "network": starlark.String(m.Network),
	}))
}

func frozen(v starlark.Value) starlark.Value {
	v.Freeze()
	return v
}

func frozenList[T starlark.Value](list []T) *starlark.List {
	values := make([]starlark.Value, len(list))
	for i, v := range list {
		values[i] = v
	}
	l := starlark.NewList(values)
	l.Freeze()
	return l
}

func stringTuple(list []string) starlark.Tuple {
	t := make(starlark.Tuple, len(list))
	for i, s := range list {
		t[i] = starlark.String(s)
	}
	return t
}

func stringDict(m map[string]string) *starlark.Dict {
	d := starlark.NewDict(len(m))
	for _, k := range sortedKeys(m) {
		_ = d.SetKey(starlark.String(k), starlark.String(m[k])) // a string is a key, and d is ours
	}
	d.Freeze()
	return d
}
