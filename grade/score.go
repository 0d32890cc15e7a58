package grade

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"assay"
)

// An axis is one scale of a policy.
type axis struct {
	name   string
	weight float64
}

// A letter is a grade and the least score that earns it.
type letter struct {
	name string
	from float64
}

// A ceiling is the best letter that a grade with a certain finding can have.
type ceiling struct {
	letter   string
	severity assay.Severity // this one or worse
	axis     string         // empty: any
}

// worstLetter is below every letter of a policy.
const worstLetter = "F"

// score fills axes, caps, score, letter and verdict from g's findings. An axis
// that no rule could look at is left out, and the others share its weight.
func (p *Policy) score(g *assay.Grade, c *contextValue) {
	var sum, weights float64
	for _, a := range p.axes {
		if !p.looked(a.name, c) {
			continue
		}
		s := axisScore(a.name, g.Findings)
		g.Axes = append(g.Axes, assay.AxisScore{Name: a.name, Score: s, Weight: a.weight})
		sum += s * a.weight
		weights += a.weight
	}
	if weights > 0 {
		g.Score = tenth(sum / weights)
	}
	p.cap(g)
	g.Letter = p.letter(g.Score)
	g.Verdict = p.verdict(g)
}

// looked reports whether some rule of the axis was asked.
func (p *Policy) looked(name string, c *contextValue) bool {
	return slices.ContainsFunc(p.rules, func(r *Rule) bool { return r.axis == name && c.has(r.needs) })
}

// axisScore is 100 less the points of the axis's findings, and never below 0.
func axisScore(name string, findings []assay.Finding) float64 {
	s := 100.0
	for _, f := range findings {
		if f.Axis == name && f.Waived == nil {
			s -= f.Points
		}
	}
	return tenth(max(0, s))
}

// tenth rounds to one decimal, so that the same input gives the same bytes on
// every processor.
func tenth(x float64) float64 { return math.Round(x*10) / 10 }

// cap lowers g's score to just below what its worst findings allow.
func (p *Policy) cap(g *assay.Grade) {
	alone := p.letter(g.Score)
	for _, c := range p.caps {
		f := c.hit(g.Findings)
		if f == nil {
			continue
		}
		if p.rank(alone) < p.rank(c.letter) {
			g.Caps = append(g.Caps, fmt.Sprintf("no better than %s with a %s finding in %s: %s", c.letter, f.Severity, f.Axis, f.Rule))
		}
		g.Score = min(g.Score, p.most(c.letter))
	}
}

// hit returns the first finding that the ceiling is about.
func (c ceiling) hit(findings []assay.Finding) *assay.Finding {
	for i, f := range findings {
		if f.Waived == nil && f.Severity.Rank() <= c.severity.Rank() && (c.axis == "" || c.axis == f.Axis) {
			return &findings[i]
		}
	}
	return nil
}

// rank returns a letter's place, 0 for the best.
func (p *Policy) rank(name string) int {
	i := slices.IndexFunc(p.letters, func(l letter) bool { return l.name == name })
	if i < 0 {
		return len(p.letters)
	}
	return i
}

// most returns the highest score that still has the letter.
func (p *Policy) most(name string) float64 {
	if i := p.rank(name); i > 0 {
		return tenth(p.letters[i-1].from - 0.1)
	}
	return 100
}

// letter returns the letter of a score.
func (p *Policy) letter(score float64) string {
	for _, l := range p.letters {
		if score >= l.from {
			return l.name
		}
	}
	return worstLetter
}

// verdict says how g ended: by its worst finding, and by its letter.
func (p *Policy) verdict(g *assay.Grade) assay.Verdict {
	worst := len(assay.Severities)
	for _, f := range g.Findings {
		if f.Waived == nil {
			worst = min(worst, f.Severity.Rank())
		}
	}
	switch {
	case g.Letter == worstLetter || worst <= p.failAt.Rank():
		return assay.Fail
	case worst <= p.warnAt.Rank():
		return assay.Warn
	}
	return assay.Pass
}

// findings renders what was found, worst first.
func (p *Policy) findings(found []drafted) []assay.Finding {
	out := make([]assay.Finding, 0, len(found))
	for _, d := range found {
		out = append(out, d.finding())
	}
	place := func(f assay.Finding) int {
		return slices.IndexFunc(p.axes, func(a axis) bool { return a.name == f.Axis })
	}
	slices.SortStableFunc(out, func(a, b assay.Finding) int {
		return cmp.Or(cmp.Compare(a.Severity.Rank(), b.Severity.Rank()), cmp.Compare(place(a), place(b)),
			cmp.Compare(b.Points, a.Points), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return out
}
