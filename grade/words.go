package grade

import (
	"fmt"
	"strings"

	"assay"

	"go.starlark.net/starlark"
)

// Predeclared returns the words that policies and scripts use to write rules:
// rule, finding, evidence, waive, cap and policy. Builtins adds them to what
// scripts see, so that a policy module loads alike in a script and in Load.
func Predeclared() starlark.StringDict {
	words := starlark.StringDict{}
	for name, fn := range map[string]func(*call) (starlark.Value, error){
		"rule": makeRule, "finding": makeFinding, "evidence": makeEvidence,
		"waive": makeWaiver, "cap": makeCap, "policy": makePolicy,
	} {
		words[name] = builtin(name, fn)
	}
	return words
}

// A call is one call of a builtin: its name and its arguments.
type call struct {
	thread *starlark.Thread
	name   string
	args   starlark.Tuple
	kwargs []starlark.Tuple
}

func builtin(name string, fn func(*call) (starlark.Value, error)) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return fn(&call{t, name, args, kwargs})
	})
}

// unpack is starlark.UnpackArgs: pairs of a parameter's name and where it goes.
func (c *call) unpack(pairs ...any) error {
	return starlark.UnpackArgs(c.name, c.args, c.kwargs, pairs...)
}

// errorf is an error of the call.
func (c *call) errorf(format string, args ...any) error {
	return fmt.Errorf(c.name+": "+format, args...)
}

// makeRule is rule(fn, axis, …): a rule named after its function, with - for _.
func makeRule(c *call) (starlark.Value, error) {
	r := &Rule{severity: assay.Medium}
	severity, points, most := string(r.severity), starlark.Value(starlark.None), starlark.Value(starlark.None)
	var needs *starlark.List
	if err := c.unpack("fn", &r.fn, "axis", &r.axis, "severity?", &severity, "points??", &points, "ceiling??", &most,
		"clear?", &r.clear, "recommendation?", &r.recommendation, "attack?", &r.attack, "needs?", &needs, "name?", &r.name); err != nil {
		return nil, err
	}
	if r.name == "" {
		r.name = strings.ReplaceAll(strings.TrimLeft(r.fn.Name(), "_"), "_", "-")
	}
	var err error
	if r.severity, err = c.severity(severity); err != nil {
		return nil, err
	}
	if r.points, err = c.number("points", points, defaultPoints[r.severity]); err != nil {
		return nil, err
	}
	if r.ceiling, err = c.number("ceiling", most, max(r.points, 100)); err != nil {
		return nil, err
	}
	r.needs, err = c.needs(needs)
	return r, err
}

func (c *call) needs(list *starlark.List) ([]string, error) {
	names, err := stringsOf(list)
	for _, n := range names {
		if n != "subject" && n != "run" {
			return nil, c.errorf("for parameter needs: got %q, want \"subject\" or \"run\"", n)
		}
	}
	return names, err
}

func (c *call) severity(word string) (assay.Severity, error) {
	s := assay.Severity(word)
	if s.Rank() == len(assay.Severities) {
		return "", c.errorf("for parameter severity: got %q, want CRITICAL, HIGH, MEDIUM, LOW or INFO", word)
	}
	return s, nil
}

// number returns v as points: between 0 and 100; None is instead.
func (c *call) number(name string, v starlark.Value, instead float64) (float64, error) {
	if v == starlark.None {
		return instead, nil
	}
	f, ok := starlark.AsFloat(v)
	if !ok || !(f >= 0 && f <= 100) {
		return 0, c.errorf("for parameter %s: got %s, want a number from 0 to 100", name, v)
	}
	return f, nil
}

// makeFinding is finding(message, evidence=[], …).
func makeFinding(c *call) (starlark.Value, error) {
	d := &draft{}
	severity, points := "", starlark.Value(starlark.None)
	var rows starlark.Iterable
	if err := c.unpack("message", &d.message, "evidence?", &rows, "severity?", &severity, "points??", &points,
		"recommendation?", &d.recommendation, "attack?", &d.attack); err != nil {
		return nil, err
	}
	if strings.TrimSpace(d.message) == "" {
		return nil, c.errorf("for parameter message: got nothing, want one line")
	}
	var err error
	if severity != "" {
		if d.severity, err = c.severity(severity); err != nil {
			return nil, err
		}
	}
	if points != starlark.None {
		p, err := c.number("points", points, 0)
		if err != nil {
			return nil, err
		}
		d.points = &p
	}
	d.evidence, err = c.rows(rows)
	return d, err
}

// rows turns what a rule gives as evidence into rows: changes, matches, runs
// and evidence().
func (c *call) rows(list starlark.Iterable) ([]assay.Evidence, error) {
	if list == nil {
		return nil, nil
	}
	var rows []assay.Evidence
	for v := range starlark.Elements(list) {
		e, ok := v.(interface{ evidence() assay.Evidence })
		if !ok {
			return nil, c.errorf("for parameter evidence: got a list with a %s, want changes, matches, runs or evidence()", v.Type())
		}
		row := e.evidence()
		rows = append(rows, assay.Evidence{Kind: cut(row.Kind, maxDetail), Key: cut(row.Key, maxKey), Detail: oneLine(row.Detail, maxDetail)})
	}
	return rows, nil
}

// An evidenceValue is one row of evidence as a rule made it.
type evidenceValue struct {
	opaque
	row assay.Evidence
}

func (e *evidenceValue) evidence() assay.Evidence { return e.row }

// String returns evidence("KIND", "KEY").
func (e *evidenceValue) String() string {
	return fmt.Sprintf("evidence(%q, %q)", e.row.Kind, e.row.Key)
}

// Type returns "Evidence".
func (e *evidenceValue) Type() string { return "Evidence" }

// makeEvidence is evidence(kind, key, detail="").
func makeEvidence(c *call) (starlark.Value, error) {
	e := &evidenceValue{}
	err := c.unpack("kind", &e.row.Kind, "key", &e.row.Key, "detail?", &e.row.Detail)
	return e, err
}

// makeWaiver is waive(rule, reason, expires, match="").
func makeWaiver(c *call) (starlark.Value, error) {
	w := &waiverValue{}
	err := c.unpack("rule", &w.waiver.Rule, "reason", &w.waiver.Reason, "expires", &w.waiver.Expires, "match?", &w.waiver.Match)
	return w, err
}

// A waiverValue is a waiver as a script made it. With checks it.
type waiverValue struct {
	opaque
	waiver assay.Waiver
}

// String returns waive("RULE").
func (w *waiverValue) String() string { return fmt.Sprintf("waive(%q)", w.waiver.Rule) }

// Type returns "Waiver".
func (w *waiverValue) Type() string { return "Waiver" }

// A capValue is a ceiling as a policy made it.
type capValue struct {
	opaque
	ceiling ceiling
}

// String returns cap("LETTER").
func (v *capValue) String() string { return fmt.Sprintf("cap(%q)", v.ceiling.letter) }

// Type returns "Cap".
func (v *capValue) Type() string { return "Cap" }

// makeCap is cap(letter, severity, axis="").
func makeCap(c *call) (starlark.Value, error) {
	v, severity := &capValue{}, ""
	if err := c.unpack("letter", &v.ceiling.letter, "severity", &severity, "axis?", &v.ceiling.axis); err != nil {
		return nil, err
	}
	var err error
	v.ceiling.severity, err = c.severity(severity)
	return v, err
}
