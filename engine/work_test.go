package engine_test

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"assay"
	"assay/engine"
)

// matrix is four tests, of which the second and the fourth fall short.
const matrix = `
def test_a():
    log("a")
def test_b():
    check(False, "b")
def test_c():
    log("c")
def test_d():
    check(False, "d")
`

// knows makes a past of tests: "a 3" took 3 seconds, "b 2 bad" failed.
func knows(past map[string]assay.Past) func(context.Context, []assay.Cell) (map[string]assay.Past, error) {
	return func(_ context.Context, cells []assay.Cell) (map[string]assay.Past, error) {
		all := map[string]assay.Past{}
		for _, c := range cells {
			if p, ok := past[strings.TrimPrefix(c.Test, "test_")]; ok {
				all[c.ID] = p
			}
		}
		return all, nil
	}
}

// tests names the tests of cells.
func tests(cells []assay.Cell) string {
	var names []string
	for _, c := range cells {
		names = append(names, strings.TrimPrefix(c.Test, "test_"))
	}
	return strings.Join(names, "")
}

// TestPrepare proves which cells are left of a plan, in its own order, and what
// is said about it.
func TestPrepare(t *testing.T) {
	past := map[string]assay.Past{"a": {Seconds: 1}, "b": {Seconds: 3, Failed: true}, "c": {Seconds: 4}, "d": {Seconds: 6, Failed: true}}
	for _, tt := range []struct {
		name  string
		past  map[string]assay.Past
		opt   engine.Options
		want  string
		notes string
	}{
		{"all", past, engine.Options{}, "abcd", ""},
		{"last failed", past, engine.Options{Last: engine.LastOnly}, "bd", "running the 2 of 4 that failed last time"},
		{"failed first", past, engine.Options{Last: engine.LastFirst}, "abcd", "running the 2 of 4 first that failed last time"},
		{"none failed", nil, engine.Options{Last: engine.LastOnly}, "abcd", "last time none failed: running all 4"},
		{"none of the filter's failed", past, engine.Options{Last: engine.LastOnly, Filter: "_a"}, "a", "last time none failed: running all 1"},
		{"first part", past, engine.Options{Shard: engine.Shard{Index: 1, Of: 2}}, "bd", "shard 1/2: 2 of 4, about 9s of 14s; split "},
		{"second part", past, engine.Options{Shard: engine.Shard{Index: 2, Of: 2}}, "ac", "shard 2/2: 2 of 4, about 5s of 14s; split "},
		{"failed of the part", past, engine.Options{Last: engine.LastOnly, Shard: engine.Shard{Index: 1, Of: 2}}, "bd",
			"shard 1/2: 2 of 4, about 9s of 14s; split \nrunning the 2 of 2 that failed last time"},
		{"none of the part failed", past, engine.Options{Last: engine.LastOnly, Shard: engine.Shard{Index: 2, Of: 2}}, "",
			"shard 2/2: 2 of 4, about 5s of 14s; split \nrunning the 0 of 2 that failed last time"},
		{"none of the part first", past, engine.Options{Last: engine.LastFirst, Shard: engine.Shard{Index: 2, Of: 2}}, "ac",
			"shard 2/2: 2 of 4, about 5s of 14s; split \nlast time none failed: running all 2"},
		{"without a past", nil, engine.Options{Shard: engine.Shard{Index: 2, Of: 3}}, "a", "shard 2/3: 1 of 4; split "},
		{"empty part", nil, engine.Options{Shard: engine.Shard{Index: 5, Of: 5}}, "", "shard 5/5: 0 of 4; split "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := environment(t.TempDir())
			env.History = knows(tt.past)
			tt.opt.Scripts = []string{filepath.Join(write(t, "a.star", matrix), "a.star")}
			w, err := engine.Prepare(t.Context(), env, tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := tests(w.Cells()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			notes := strings.Join(w.Notes, "\n")
			notes = regexp.MustCompile("split [0-9a-f]{8}").ReplaceAllString(notes, "split ")
			if notes != tt.notes {
				t.Errorf("got %q, want %q", w.Notes, tt.notes)
			}
		})
	}
}

// TestNoHistoryIsNoFailure proves that a past that cannot be read only costs time.
func TestNoHistoryIsNoFailure(t *testing.T) {
	env := environment(t.TempDir())
	env.History = func(context.Context, []assay.Cell) (map[string]assay.Past, error) {
		return nil, errors.New("the disk is gone")
	}
	w, err := engine.Prepare(t.Context(), env, engine.Options{Scripts: []string{filepath.Join(write(t, "a.star", matrix), "a.star")}})
	if err != nil || tests(w.Cells()) != "abcd" || !slices.Equal(w.Notes, []string{"no history: the disk is gone"}) {
		t.Errorf("got %v, %v", w, err)
	}
}

// TestRunOrder proves that cells start in the order of their past, one at a
// time, that the record keeps the plan's order, and that MaxFail ends the starting.
func TestRunOrder(t *testing.T) {
	past := map[string]assay.Past{"a": {Seconds: 1}, "b": {Seconds: 2, Failed: true}, "c": {Seconds: 9}, "d": {Seconds: 5, Failed: true}}
	for _, tt := range []struct {
		name    string
		opt     engine.Options
		started string // tests, in the order of their start
		skipped string // in the plan's order
	}{
		{"longest first", engine.Options{}, "cdba", ""},
		{"failed first", engine.Options{Last: engine.LastFirst}, "dbca", ""},
		{"first failure", engine.Options{MaxFail: 1}, "cd", "ab"},
		{"second failure", engine.Options{MaxFail: 2}, "cdb", "a"},
		{"failed first, first failure", engine.Options{Last: engine.LastFirst, MaxFail: 1}, "d", "abc"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, matrix)
			f.env.History = knows(past)
			tt.opt.Scripts, tt.opt.Jobs = f.opt.Scripts, 1
			var started []assay.Cell
			run, err := engine.Run(t.Context(), f.env, tt.opt, &f.rec, func(e engine.Event) {
				if e.Kind == engine.CellStart {
					_, test, _ := strings.Cut(e.Cell, ":")
					started = append(started, assay.Cell{Test: test[:len("test_x")]})
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			var order, skipped []assay.Cell
			for _, c := range run.Cells {
				order = append(order, *c)
				if c.Verdict == assay.Skip && c.Failure != nil && c.Failure.Kind == assay.StoppedFailure {
					skipped = append(skipped, *c)
				}
			}
			if tests(started) != tt.started || tests(order) != "abcd" || tests(skipped) != tt.skipped {
				t.Errorf("started %s, recorded %s, skipped %s, want %s, abcd, %s", tests(started), tests(order), tests(skipped), tt.started, tt.skipped)
			}
			if run.Verdict != assay.Fail {
				t.Errorf("got %s, want fail", run.Verdict)
			}
		})
	}
}
