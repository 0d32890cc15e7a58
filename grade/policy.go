package grade

import (
	"context"
	"errors"
	"io/fs"

	"assay"

	"go.starlark.net/starlark"
)

// DefaultPolicy is the module of the policy that is used when a script names none.
const DefaultPolicy = "policy/default.star"

// A Policy is a set of rules with weights, letters and caps. It never changes:
// With and the method extend, which scripts call, return a new one. It is a
// Starlark value.
type Policy struct {
	name, version string
}

// An Adjustment is what a script changes about a policy.
type Adjustment struct {
	Rules   []*Rule                      // added; a name that is taken is an error
	Replace map[string]starlark.Callable // by rule name: the same rule with another function
	Waive   []assay.Waiver
}

// A Rule is one class of finding: a Starlark function and what it says when it
// finds nothing. Scripts make one with rule().
type Rule struct {
	name string
}

// Load runs the policy module name of modules and returns the policy that it
// defines in its global "default". Modules load one another with
// load("@stdlib//policy/x.star", …).
func Load(ctx context.Context, modules fs.FS, name string) (*Policy, error) {
	return nil, errors.ErrUnsupported
}

// With returns a policy with a's rules, replacements and waivers. A rule name
// that the policy lacks is an error that names the nearest one.
func (p *Policy) With(a Adjustment) (*Policy, error) { return nil, errors.ErrUnsupported }

// Grade judges in. today, such as 2026-11-23, decides which waivers have expired.
// An error is a rule's: *starlark.EvalError is in its chain, and ctx's end cuts it off.
func (p *Policy) Grade(ctx context.Context, in Input, today string) (assay.Grade, error) {
	return assay.Grade{}, errors.ErrUnsupported
}

// Predeclared returns the words that policies and scripts use to write rules:
// rule, finding, evidence, waive and policy. Builtins adds them to what scripts see.
func Predeclared() starlark.StringDict { return starlark.StringDict{} }

// String returns the policy's name and version: default@1.
func (p *Policy) String() string { return p.name + "@" + p.version }

// Type returns "Policy".
func (p *Policy) Type() string { return "Policy" }

// Freeze does nothing: a policy never changes.
func (p *Policy) Freeze() {}

// Truth returns True.
func (p *Policy) Truth() starlark.Bool { return true }

// Hash fails: a policy is not a key.
func (p *Policy) Hash() (uint32, error) { return 0, errors.New("unhashable: Policy") }

// NewSubjectValue returns s as scripts and rules see it. s must not change afterwards.
func NewSubjectValue(s *Subject) *SubjectValue { return &SubjectValue{subject: s} }

// A SubjectValue is a Subject as scripts and rules see it.
type SubjectValue struct{ subject *Subject }

// Subject returns what v shows.
func (v *SubjectValue) Subject() *Subject { return v.subject }

// String returns subject("NAME").
func (v *SubjectValue) String() string { return "subject(" + v.subject.Name + ")" }

// Type returns "Subject".
func (v *SubjectValue) Type() string { return "Subject" }

// Freeze does nothing: a subject never changes.
func (v *SubjectValue) Freeze() {}

// Truth returns True.
func (v *SubjectValue) Truth() starlark.Bool { return true }

// Hash fails: a subject is not a key.
func (v *SubjectValue) Hash() (uint32, error) { return 0, errors.New("unhashable: Subject") }
