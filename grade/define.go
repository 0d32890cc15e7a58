package grade

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"assay"

	"go.starlark.net/starlark"
)

// makePolicy is policy(name, version, axes, letters, rules, caps=[], fail="CRITICAL", warn="MEDIUM").
func makePolicy(c *call) (starlark.Value, error) {
	p := &Policy{}
	fail, warn := string(assay.Critical), string(assay.Medium)
	var axes, letters *starlark.Dict
	var rules, caps *starlark.List
	err := c.unpack("name", &p.name, "version", &p.version, "axes", &axes, "letters", &letters, "rules", &rules,
		"caps?", &caps, "fail?", &fail, "warn?", &warn)
	if err != nil {
		return nil, err
	}
	if p.failAt, err = c.severity(fail); err != nil {
		return nil, err
	}
	if p.warnAt, err = c.severity(warn); err != nil {
		return nil, err
	}
	if err := p.scale(c, axes, letters); err != nil {
		return nil, err
	}
	if err := p.fill(c, rules, caps); err != nil {
		return nil, err
	}
	return p, nil
}

// scale sets axes and letters from dicts of numbers.
func (p *Policy) scale(c *call, axes, letters *starlark.Dict) error {
	for _, kv := range axes.Items() {
		w, err := c.number("axes", kv[1], 0)
		if err != nil {
			return err
		}
		p.axes = append(p.axes, axis{word(kv[0]), w})
	}
	for _, kv := range letters.Items() {
		from, err := c.number("letters", kv[1], 0)
		if err != nil {
			return err
		}
		p.letters = append(p.letters, letter{word(kv[0]), from})
	}
	slices.SortStableFunc(p.letters, func(a, b letter) int { return cmp.Compare(b.from, a.from) })
	return nil
}

func (p *Policy) fill(c *call, rules, caps *starlark.List) error {
	list, err := listOf[*Rule](rules)
	if err != nil {
		return c.errorf("for parameter rules: %w", err)
	}
	for _, r := range list {
		if err := p.add(r); err != nil {
			return c.errorf("%w", err)
		}
	}
	ceilings, err := listOf[*capValue](caps)
	if err != nil {
		return c.errorf("for parameter caps: %w", err)
	}
	for _, v := range ceilings {
		if p.rank(v.ceiling.letter) == len(p.letters) {
			return c.errorf("for parameter caps: got letter %q, want one of the policy's", v.ceiling.letter)
		}
		p.caps = append(p.caps, v.ceiling)
	}
	return nil
}

// listOf returns a list's elements, which all must be a T.
func listOf[T starlark.Value](list *starlark.List) ([]T, error) {
	var out []T
	if list == nil {
		return nil, nil
	}
	for v := range list.Elements() {
		t, ok := v.(T)
		if !ok {
			var want T
			return nil, fmt.Errorf("got a list with a %s, want %s", v.Type(), want.Type())
		}
		out = append(out, t)
	}
	return out, nil
}

// stringsOf returns a list of strings.
func stringsOf(list *starlark.List) ([]string, error) {
	values, err := listOf[starlark.String](list)
	var out []string
	for _, v := range values {
		out = append(out, string(v))
	}
	return out, err
}

func word(v starlark.Value) string {
	s, ok := starlark.AsString(v)
	if !ok {
		return v.String()
	}
	return s
}

// String returns the policy's name and version: default@1.
func (p *Policy) String() string { return p.name + "@" + p.version }

// Type returns "Policy".
func (p *Policy) Type() string { return "Policy" }

// Attr returns name, version, rules (their names) or the method extend.
func (p *Policy) Attr(name string) (starlark.Value, error) {
	switch name {
	case "name":
		return starlark.String(p.name), nil
	case "version":
		return starlark.String(p.version), nil
	case "rules":
		return stringList(p.Rules()), nil
	case "extend":
		return builtin("extend", p.extend), nil
	}
	return nil, nil
}

// AttrNames lists what Attr knows.
func (p *Policy) AttrNames() []string { return []string{"extend", "name", "rules", "version"} }

// extend is policy.extend(rules=[], replace={}, waive=[]): With, for scripts.
func (p *Policy) extend(c *call) (starlark.Value, error) {
	var rules, waive *starlark.List
	var replace *starlark.Dict
	if err := c.unpack("rules?", &rules, "replace?", &replace, "waive?", &waive); err != nil {
		return nil, err
	}
	if len(c.args) > 0 {
		return nil, c.errorf("got positional arguments, want rules=, replace= or waive=")
	}
	a, err := adjustment(rules, replace, waive)
	if err != nil {
		return nil, c.errorf("%w", err)
	}
	q, err := p.With(a)
	if err != nil {
		return nil, c.errorf("%w", err)
	}
	return q, nil
}

func adjustment(rules *starlark.List, replace *starlark.Dict, waive *starlark.List) (Adjustment, error) {
	a := Adjustment{Replace: map[string]starlark.Callable{}}
	var err error
	if a.Rules, err = listOf[*Rule](rules); err != nil {
		return a, fmt.Errorf("for parameter rules: %w", err)
	}
	waivers, err := listOf[*waiverValue](waive)
	if err != nil {
		return a, fmt.Errorf("for parameter waive: %w", err)
	}
	for _, w := range waivers {
		a.Waive = append(a.Waive, w.waiver)
	}
	if replace == nil {
		return a, nil
	}
	for _, kv := range replace.Items() {
		fn, ok := kv[1].(starlark.Callable)
		if !ok {
			return a, fmt.Errorf("for parameter replace: got a %s, want a function or a rule()", kv[1].Type())
		}
		a.Replace[word(kv[0])] = fn
	}
	return a, nil
}

// Name returns the rule's name, leftover-temp-files.
func (r *Rule) Name() string { return r.name }

// String returns rule("NAME").
func (r *Rule) String() string { return fmt.Sprintf("rule(%q)", r.name) }

// Type returns "Rule".
func (r *Rule) Type() string { return "Rule" }

// CallInternal asks the rule's function, so that rules can be tried and reused
// from Starlark.
func (r *Rule) CallInternal(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return starlark.Call(thread, r.fn, args, kwargs)
}

func stringList(list []string) *starlark.List {
	values := make([]starlark.Value, 0, len(list))
	for _, s := range list {
		values = append(values, starlark.String(s))
	}
	l := starlark.NewList(values)
	l.Freeze()
	return l
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
