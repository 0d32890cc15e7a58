package grade_test

import (
	"bytes"
	"slices"
	"testing"

	"assay"
	"assay/grade"

	"pgregory.net/rapid"
)

// anyInput draws some of what the rules' cases find, in any order, together.
func anyInput(t *rapid.T) grade.Input {
	var all []grade.Input
	for _, rule := range sortedRules() {
		all = append(all, ruleCases[rule].fires...)
	}
	in := subject()
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, 12, rapid.ID[int]).Draw(t, "cases") {
		in.Changes = append(in.Changes, all[i].Changes...)
		in.Runs = append(in.Runs, all[i].Runs...)
	}
	return in
}

func sortedRules() []string {
	var names []string
	for name := range ruleCases {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestMoreNeverRaises proves that one more change never makes a grade better.
func TestMoreNeverRaises(t *testing.T) {
	p := defaultPolicy(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		if len(in.Changes) == 0 {
			return
		}
		less := in
		less.Changes = slices.Clone(in.Changes)
		i := rapid.IntRange(0, len(in.Changes)-1).Draw(t, "left out")
		if in.Changes[i].Kind == "package" {
			return // a package explains other changes
		}
		less.Changes = slices.Delete(less.Changes, i, i+1)
		few, many := mustJudge(t, p, less), mustJudge(t, p, in)
		if many.Score > few.Score {
			t.Errorf("got %v with and %v without %v, want no more", many.Score, few.Score, in.Changes[i])
		}
	})
}

// TestOrderIsNothing proves that the order of changes changes no byte.
func TestOrderIsNothing(t *testing.T) {
	p := defaultPolicy(t)
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		other := in
		other.Changes = rapid.Permutation(in.Changes).Draw(t, "order")
		a, b := encodeGrade(mustJudge(t, p, in)), encodeGrade(mustJudge(t, p, other))
		if !bytes.Equal(a, b) {
			t.Errorf("got\n%s\nand\n%s", a, b)
		}
	})
}

// TestWaivedIsPerfect proves that waived findings cost nothing and stay visible.
func TestWaivedIsPerfect(t *testing.T) {
	p := defaultPolicy(t)
	var waive []assay.Waiver
	for _, rule := range p.Rules() {
		waive = append(waive, assay.Waiver{Rule: rule, Reason: "a test", Expires: today})
	}
	forgiving, err := p.With(grade.Adjustment{Waive: waive})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		in := anyInput(t)
		strict, lenient := mustJudge(t, p, in), mustJudge(t, forgiving, in)
		if lenient.Score != 100 || lenient.Verdict != assay.Pass || len(lenient.Findings) != len(strict.Findings) {
			t.Errorf("got %v %s with %d findings, want 100 pass with %d", lenient.Score, lenient.Verdict, len(lenient.Findings), len(strict.Findings))
		}
	})
}

// TestLostPointsAreExplained proves that each axis is 100 less its findings.
func TestLostPointsAreExplained(t *testing.T) {
	p := defaultPolicy(t)
	rapid.Check(t, func(t *rapid.T) {
		g := mustJudge(t, p, anyInput(t))
		sum := 0.0
		for _, a := range g.Axes {
			want := 100.0
			for _, f := range g.Findings {
				if f.Axis == a.Name && f.Waived == nil {
					want -= f.Points
				}
			}
			if a.Score != max(0, want) {
				t.Errorf("%s: got %v, want %v", a.Name, a.Score, want)
			}
			sum += a.Score * a.Weight / 100
		}
		if d := g.Score - sum; d > 0.051 || d < -0.051 && len(g.Caps) == 0 {
			t.Errorf("got score %v without a cap, want %v", g.Score, sum)
		}
	})
}

func mustJudge(t *rapid.T, p *grade.Policy, in grade.Input) assay.Grade {
	g, err := p.Grade(t.Context(), in, today)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func encodeGrade(g assay.Grade) []byte {
	var b bytes.Buffer
	writeJSON(&b, g)
	return b.Bytes()
}
