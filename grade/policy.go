package grade

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
	"go.starlark.net/starlark"

	"assay/near"
)

// DefaultPolicy is the module of the policy that is used when a script names none.
const DefaultPolicy = "policy/default.star"

// A Policy is a set of rules with weights, letters and caps. It never changes:
// With, and the method extend that scripts call, return a new one. It is a
// Starlark value.
type Policy struct {
	opaque
	name, version  string
	axes           []axis   // in the order of the report
	letters        []letter // best first
	caps           []ceiling
	failAt, warnAt assay.Severity // the mildest finding that is a fail, a warning
	rules          []*Rule
	waive          []assay.Waiver
}

// A Rule is one class of finding: a Starlark function, what its findings are by
// default, and what it says when there are none. Scripts make one with rule().
type Rule struct {
	opaque
	name           string
	fn             starlark.Callable
	axis           string
	severity       assay.Severity
	points         float64 // for each row of evidence
	ceiling        float64 // for all findings of the rule
	clear          string
	recommendation string
	attack         string
	needs          []string // "subject", "run": without them the rule is not asked
}

// An Adjustment is what a script changes about a policy.
type Adjustment struct {
	Rules   []*Rule                      // added; a name that is taken is an error
	Replace map[string]starlark.Callable // by rule name: the same rule with another function
	Waive   []assay.Waiver
}

// With returns a policy with a's rules, replacements and waivers. A rule name
// that the policy lacks is an error that names the nearest one.
func (p *Policy) With(a Adjustment) (*Policy, error) {
	q := *p
	q.rules, q.waive = slices.Clone(p.rules), slices.Clone(p.waive)
	for _, r := range a.Rules {
		if err := q.add(r); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(a.Replace) {
		if err := q.replace(name, a.Replace[name]); err != nil {
			return nil, err
		}
	}
	for _, w := range a.Waive {
		if err := q.addWaiver(w); err != nil {
			return nil, err
		}
	}
	return &q, nil
}

func (p *Policy) add(r *Rule) error {
	if p.rule(r.name) != nil {
		return fmt.Errorf("rule %s: the policy has a rule of that name; use replace, or another name", r.name)
	}
	p.rules = append(p.rules, r)
	return p.hasAxis(r)
}

func (p *Policy) hasAxis(r *Rule) error {
	if slices.Contains(p.axisNames(), r.axis) {
		return nil
	}
	return fmt.Errorf("rule %s: got axis %q, want one of %s", r.name, r.axis, strings.Join(p.axisNames(), ", "))
}

func (p *Policy) replace(name string, fn starlark.Callable) error {
	i := slices.IndexFunc(p.rules, func(r *Rule) bool { return r.name == name })
	if i < 0 {
		return p.unknown("replace", name)
	}
	r := *p.rules[i]
	r.fn = fn
	if whole, ok := fn.(*Rule); ok {
		r = *whole
		r.name = name
	}
	p.rules[i] = &r
	return p.hasAxis(&r)
}

func (p *Policy) addWaiver(w assay.Waiver) error {
	if p.rule(w.Rule) == nil {
		return p.unknown("waive", w.Rule)
	}
	if strings.TrimSpace(w.Reason) == "" {
		return fmt.Errorf("waive: %s: got no reason, want why the finding is acceptable", w.Rule)
	}
	if _, err := time.Parse(time.DateOnly, w.Expires); err != nil {
		return fmt.Errorf("waive: %s: got expires %q, want a day such as \"2027-01-31\"", w.Rule, w.Expires)
	}
	if !doublestar.ValidatePattern(w.Match) {
		return fmt.Errorf("waive: %s: got match %q, want a glob such as \"/etc/**\"", w.Rule, w.Match)
	}
	p.waive = append(p.waive, w)
	return nil
}

// rule returns the rule of that name, or nil.
func (p *Policy) rule(name string) *Rule {
	for _, r := range p.rules {
		if r.name == name {
			return r
		}
	}
	return nil
}

// Rules lists the names of the policy's rules, in its order.
func (p *Policy) Rules() []string {
	var names []string
	for _, r := range p.rules {
		names = append(names, r.name)
	}
	return names
}

func (p *Policy) axisNames() []string {
	var names []string
	for _, a := range p.axes {
		names = append(names, a.name)
	}
	return names
}

// unknown is the error for a rule name that the policy lacks.
func (p *Policy) unknown(verb, name string) error {
	word := near.Name(name, p.Rules())
	if word == "" {
		return fmt.Errorf("%s: %s: the policy %s has no such rule", verb, name, p)
	}
	return fmt.Errorf("%s: %s: the policy %s has no such rule; the nearest is %s", verb, name, p, word)
}
