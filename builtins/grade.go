package builtins

import (
	"context"
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/engine"
	"assay/grade"
)

type gradeArgs struct {
	Changes *Changes            `star:"changes" help:"what the subject did to the machine"`
	Subject *grade.SubjectValue `star:"subject?" help:"the software under test, from subject(…); default: rules about its source are not asked"`
	Run     runs                `star:"run?" help:"the ExecResult, or list of them, that are the subject's doing; default: every exec of the test on this machine"`
	Policy  *grade.Policy       `star:"policy?" help:"what to judge by; default: the policy of @stdlib//policy/default.star"`
}

var gradeChanges = engine.Func("grade", "Grade",
	"Judges what a subject did by a policy's rules. The test fails if the grade's verdict is fail.\n"+
		"Every lost point is explained by a finding, and every finding names what proves it.",
	gradeArgs{}, runGrade)

func runGrade(ctx context.Context, s *engine.Session, a gradeArgs) (starlark.Value, error) {
	m := a.Changes.machine
	s.Describe(m.name, m.vm.ID())
	policy := a.Policy
	if policy == nil {
		var err error
		if policy, err = grade.Load(ctx, s.Stdlib(), grade.DefaultPolicy); err != nil {
			return nil, fmt.Errorf("grade: %w", err)
		}
	}
	in := a.input(s)
	g, err := policy.Grade(ctx, in, time.Now().UTC().Format(time.DateOnly))
	if err != nil {
		return nil, fmt.Errorf("grade: %w", err)
	}
	if a.Subject == nil {
		g.Subject = s.Test()
	}
	g.Diff = a.Changes.diff
	g.ID = s.AddGrade(g)
	s.Describe(fmt.Sprintf("%s: %s (%.0f/100)", g.Subject, g.Letter, g.Score), m.vm.ID())
	return &Grade{g}, nil
}

// input is everything that the policy may look at.
func (a gradeArgs) input(s *engine.Session) grade.Input {
	m := a.Changes.machine
	in := grade.Input{Changes: a.Changes.changes, Machine: m.record, Home: m.info.Home, Finished: true, Params: s.Params()}
	if a.Subject != nil {
		in.Subject = a.Subject.Subject()
	}
	for _, r := range a.Run {
		in.Runs, in.Steps = append(in.Runs, r.record), append(in.Steps, r.seq)
	}
	if a.Run != nil {
		return in
	}
	for _, step := range s.Steps() {
		if step.Exec != nil && step.Machine == m.vm.ID() {
			in.Runs, in.Steps = append(in.Runs, *step.Exec), append(in.Steps, step.Seq)
		}
	}
	return in
}

// runs is one ExecResult or a list of them; nil: not given.
type runs []*ExecResult

// StarType implements engine.StarType.
func (runs) StarType() string { return "ExecResult | list[ExecResult]" }

// Unpack implements starlark.Unpacker.
func (r *runs) Unpack(v starlark.Value) error {
	if one, ok := v.(*ExecResult); ok {
		*r = runs{one}
		return nil
	}
	seq, ok := v.(starlark.Sequence)
	if !ok {
		return fmt.Errorf("got %s, want ExecResult or list of them", v.Type())
	}
	*r = runs{}
	for x := range starlark.Elements(seq) {
		one, ok := x.(*ExecResult)
		if !ok {
			return fmt.Errorf("element %d: got %s, want ExecResult", len(*r), x.Type())
		}
		*r = append(*r, one)
	}
	return nil
}

// A Grade is a policy's judgement, as scripts see it.
type Grade struct{ grade assay.Grade }

var gradeType = &engine.Type{
	Name: "Grade",
	Doc:  "A policy's judgement of one subject.",
	Attrs: []engine.Attr{
		engine.Field("letter", "str", `"A" to "F"; letters compare: g.letter <= "B".`, func(g *Grade) starlark.Value { return starlark.String(g.grade.Letter) }),
		engine.Field("score", "float", "0 to 100, after caps.", func(g *Grade) starlark.Value { return starlark.Float(g.grade.Score) }),
		engine.Field("verdict", "str", `"pass", "warn", "fail", "skip" or "error".`, func(g *Grade) starlark.Value { return starlark.String(g.grade.Verdict) }),
		engine.Field("policy", "str", "The policy's name and version.", func(g *Grade) starlark.Value { return starlark.String(g.grade.Policy) }),
		engine.Field("axes", "dict[str, float]", `The score of each axis: "security", "cleanliness", …`, func(g *Grade) starlark.Value { return g.axes() }),
		engine.Field("caps", "list[str]", "Why the letter is lower than the score alone says.", func(g *Grade) starlark.Value { return stringList(g.grade.Caps) }),
		engine.Field("findings", "list[Finding]", "What was found, worst first.", func(g *Grade) starlark.Value { return g.findings() }),
	},
}

func (g *Grade) axes() starlark.Value {
	scores := map[string]float64{}
	var names []string
	for _, a := range g.grade.Axes {
		names = append(names, a.Name)
		scores[a.Name] = a.Score
	}
	return stringDict(names, func(name string) starlark.Value { return starlark.Float(scores[name]) })
}

func (g *Grade) findings() starlark.Value {
	var all []starlark.Value
	for _, f := range g.grade.Findings {
		all = append(all, &Finding{f})
	}
	return frozenList(all)
}

// String returns what print shows.
func (g *Grade) String() string {
	return fmt.Sprintf("<grade %s, %.0f/100, %d findings>", g.grade.Letter, g.grade.Score, len(g.grade.Findings))
}

// Type returns "Grade".
func (g *Grade) Type() string { return "Grade" }

// Freeze does nothing: a grade never changes.
func (g *Grade) Freeze() {}

// Truth returns True.
func (g *Grade) Truth() starlark.Bool { return true }

// Hash fails: a grade is not a key.
func (g *Grade) Hash() (uint32, error) { return 0, unhashable(g) }

// Attr implements starlark.HasAttrs.
func (g *Grade) Attr(name string) (starlark.Value, error) { return gradeType.Attr(g, name) }

// AttrNames implements starlark.HasAttrs.
func (g *Grade) AttrNames() []string { return gradeType.AttrNames() }

// A Finding is a judged fact, as scripts see it.
type Finding struct{ finding assay.Finding }

var findingType = &engine.Type{
	Name: "Finding",
	Doc:  "A judged fact of a grade.",
	Attrs: []engine.Attr{
		engine.Field("rule", "str", `The rule that found it: "leftover-temp-files".`, func(f *Finding) starlark.Value { return starlark.String(f.finding.Rule) }),
		engine.Field("severity", "str", `"CRITICAL", "HIGH", "MEDIUM", "LOW" or "INFO".`, func(f *Finding) starlark.Value { return starlark.String(f.finding.Severity) }),
		engine.Field("axis", "str", "The axis that it takes points off.", func(f *Finding) starlark.Value { return starlark.String(f.finding.Axis) }),
		engine.Field("points", "float", "How many.", func(f *Finding) starlark.Value { return starlark.Float(f.finding.Points) }),
		engine.Field("message", "str", "What was found, in one line.", func(f *Finding) starlark.Value { return starlark.String(f.finding.Message) }),
		engine.Field("recommendation", "str", "What to do about it.", func(f *Finding) starlark.Value { return starlark.String(f.finding.Recommendation) }),
		engine.Field("evidence", "list[str]", `What proves it: "file /etc/motd", "source run.sh:67".`, func(f *Finding) starlark.Value { return f.evidence() }),
		engine.Field("waived", "bool", "It counts nothing, for a reason that the report shows.", func(f *Finding) starlark.Value { return starlark.Bool(f.finding.Waived != nil) }),
	},
}

func (f *Finding) evidence() starlark.Value {
	var all []string
	for _, e := range f.finding.Evidence {
		all = append(all, e.Kind+" "+e.Key)
	}
	return stringList(all)
}

// String returns SEVERITY RULE: MESSAGE.
func (f *Finding) String() string {
	return fmt.Sprintf("%s %s: %s", f.finding.Severity, f.finding.Rule, f.finding.Message)
}

// Type returns "Finding".
func (f *Finding) Type() string { return "Finding" }

// Freeze does nothing: a finding never changes.
func (f *Finding) Freeze() {}

// Truth returns True.
func (f *Finding) Truth() starlark.Bool { return true }

// Hash fails: a finding is not a key.
func (f *Finding) Hash() (uint32, error) { return 0, unhashable(f) }

// Attr implements starlark.HasAttrs.
func (f *Finding) Attr(name string) (starlark.Value, error) { return findingType.Attr(f, name) }

// AttrNames implements starlark.HasAttrs.
func (f *Finding) AttrNames() []string { return findingType.AttrNames() }
