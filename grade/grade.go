// Package grade judges: findings from what a run changed and did, scores from
// findings, a letter and a verdict from scores.
//
// It is pure. A policy is Starlark (package stdlib has the default one), loaded
// once; after that the same input gives the same bytes, with no clock, no
// randomness and no I/O, so that a stored run can be judged again. It knows no
// machine, no database and no report. Everything that it is given came from a
// hostile guest or an untrusted script: steps, counts and lengths are bounded.
package grade

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"assay"

	"go.starlark.net/starlark"
)

// An Input is everything that a policy may look at.
type Input struct {
	Subject  *Subject          `json:"subject,omitempty"` // what was tested; nil: unknown, and rules about it are not asked
	Changes  []assay.Change    `json:"changes"`           // what it did to the machine, in any order
	Runs     []assay.Exec      `json:"runs,omitempty"`    // the commands that were the subject's doing, in order
	Steps    []int             `json:"steps,omitempty"`   // seq of the step of each run, for evidence; may be shorter than Runs
	Machine  assay.Machine     `json:"machine"`           // where it ran
	User     string            `json:"user,omitempty"`    // who it ran as; empty: the user of the first run, else tester
	Home     string            `json:"home,omitempty"`    // of that user; empty: /root or /home/USER
	Finished bool              `json:"finished"`          // false: our infrastructure broke off; the verdict is error and the letter "-"
	Error    string            `json:"error,omitempty"`   // why it did not finish
	Params   map[string]string `json:"params,omitempty"`  // of the cell
}

// Grade judges in. today, such as 2026-11-23, decides which waivers have
// expired. An input without subject, changes and runs is skipped: nothing was
// learnt. An error is a rule's: its *starlark.EvalError is in the chain; or it
// is ctx's.
func (p *Policy) Grade(ctx context.Context, in Input, today string) (assay.Grade, error) {
	g := assay.Grade{Subject: subjectName(in), Policy: p.String(), Letter: NoLetter, Verdict: assay.Skip, Findings: []assay.Finding{}}
	if in.Finished && in.Subject == nil && len(in.Changes) == 0 && len(in.Runs) == 0 {
		return g, nil
	}
	c := newContext(in)
	var found []drafted
	for _, r := range p.rules {
		if !c.has(r.needs) {
			continue
		}
		drafts, err := r.ask(ctx, c)
		if err != nil {
			return assay.Grade{}, err
		}
		if len(drafts) == 0 && in.Finished && r.clear != "" {
			g.Checks = append(g.Checks, assay.Clear{Rule: r.name, Axis: r.axis, Message: r.clear})
		}
		found = append(found, p.waived(r, drafts, today)...)
	}
	found = append(found, p.expired(today)...)
	found = append(found, p.tooMany(c)...)
	g.Findings = p.findings(found)
	p.score(&g, c)
	if !in.Finished {
		broken(&g, in.Error)
	}
	return g, nil
}

// NoLetter is the letter of a run that was not judged.
const NoLetter = "-"

// broken makes g the grade of a run that did not finish: never clean, whatever
// was seen of it.
func broken(g *assay.Grade, why string) {
	if why == "" {
		why = "reason not recorded"
	}
	g.Letter, g.Score, g.Axes, g.Verdict = NoLetter, 0, nil, assay.Error
	g.Caps = []string{oneLine("the run did not finish: "+why, maxMessage)}
}

func subjectName(in Input) string {
	if in.Subject == nil {
		return ""
	}
	return in.Subject.Name
}

// newContext prepares in for the rules. Changes are put into one order, so that
// the order in which they came cannot matter.
func newContext(in Input) *contextValue {
	c := &contextValue{in: in, user: in.User, home: in.Home}
	if c.user == "" && len(in.Runs) > 0 {
		c.user = in.Runs[0].User
	}
	c.user = cmp.Or(c.user, "tester")
	if c.home == "" {
		c.home = "/home/" + c.user
		if c.user == "root" {
			c.home = "/root"
		}
	}
	judged, left := bounded(sorted(in.Changes))
	for _, ch := range judged {
		c.changes = append(c.changes, newChange(ch))
	}
	c.left = left
	for i, r := range in.Runs {
		c.runs = append(c.runs, newRun(r, i, in.Steps))
	}
	if in.Subject != nil {
		c.subject = NewSubjectValue(in.Subject)
	}
	return c
}

// bounded returns what the rules look at, and how many changes of the subject's
// own are past the bound. What packages explain is the first to be left out.
func bounded(changes []assay.Change) (judged []assay.Change, left int) {
	if len(changes) <= maxChanges {
		return changes, 0
	}
	own := slices.DeleteFunc(slices.Clone(changes), func(c assay.Change) bool { return strings.HasPrefix(c.Group, "package") })
	if len(own) <= maxChanges {
		return own, 0
	}
	return own[:maxChanges], len(own) - maxChanges
}

// tooMany is the finding about changes that no rule looked at. What was not
// looked at is not clean.
func (p *Policy) tooMany(c *contextValue) []drafted {
	if c.left == 0 || len(p.axes) == 0 {
		return nil
	}
	heaviest := slices.MaxFunc(p.axes, func(a, b axis) int { return cmp.Compare(a.weight, b.weight) })
	r := &Rule{name: "too-many-changes", axis: heaviest.name, severity: assay.Critical}
	d := draft{
		message:        fmt.Sprintf("the subject changed %d things more than the %d that are judged", c.left, maxChanges),
		recommendation: "Change less, or judge it in parts",
	}
	return []drafted{{rule: r, draft: d, points: 100}}
}

// sorted returns the changes by kind and key; equal ones by all they hold.
func sorted(changes []assay.Change) []assay.Change {
	out := slices.Clone(changes)
	slices.SortFunc(out, func(a, b assay.Change) int {
		if n := cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op)); n != 0 {
			return n
		}
		x, _ := json.Marshal(a) // maps of strings always marshal, in key order
		y, _ := json.Marshal(b)
		return cmp.Compare(string(x), string(y))
	})
	return out
}

// ask runs the rule's function on c and returns what it found.
func (r *Rule) ask(ctx context.Context, c *contextValue) ([]draft, error) {
	thread := newThread("rule "+r.name, minSteps+changeSteps*uint64(len(c.changes)))
	defer context.AfterFunc(ctx, func() { thread.Cancel(context.Cause(ctx).Error()) })()
	v, err := starlark.Call(thread, r.fn, starlark.Tuple{c}, nil)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("grade: rule %s: %w", r.name, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("grade: rule %s: %w", r.name, err)
	}
	drafts, err := toDrafts(v)
	if err != nil {
		return nil, fmt.Errorf("grade: rule %s: %w", r.name, err)
	}
	return drafts, nil
}

// newThread returns a thread that ends a rule or module that does not end.
func newThread(name string, steps uint64) *starlark.Thread {
	thread := &starlark.Thread{Name: name, Print: func(*starlark.Thread, string) {}}
	thread.SetMaxExecutionSteps(steps)
	return thread
}
