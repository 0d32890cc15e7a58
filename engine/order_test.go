package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"assay"
)

// plans draws a plan and what is known of its cells.
func plans(t *rapid.T) ([]job, map[string]assay.Past) {
	n := rapid.IntRange(0, 60).Draw(t, "cells")
	jobs, past := make([]job, n), map[string]assay.Past{}
	for i := range jobs {
		id := fmt.Sprint("cell-", i)
		jobs[i].Cell.ID = id
		if rapid.Bool().Draw(t, "known") {
			past[id] = assay.Past{Seconds: float64(rapid.IntRange(0, 50).Draw(t, "seconds")), Failed: rapid.Bool().Draw(t, "failed")}
		}
	}
	return jobs, past
}

func ids(jobs []job) (list []string) {
	for _, j := range jobs {
		list = append(list, j.Cell.ID)
	}
	return list
}

// TestShardsArePartition proves that every cell is in exactly one part, that the
// parts keep the plan's order, and that they differ by at most one cell.
func TestShardsArePartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs, _ := plans(t)
		parts := rapid.IntRange(1, 20).Draw(t, "parts")
		to := splitJobs(jobs, parts)
		var all []string
		var sizes []int
		for k := 1; k <= parts; k++ {
			mine := to.part(jobs, k)
			if !slices.IsSortedFunc(mine, func(a, b job) int { return slices.Index(ids(jobs), a.Cell.ID) - slices.Index(ids(jobs), b.Cell.ID) }) {
				t.Fatalf("part %d: got %v, want the plan's order", k, ids(mine))
			}
			all, sizes = append(all, ids(mine)...), append(sizes, len(mine))
		}
		slices.Sort(all)
		want := ids(jobs)
		if slices.Sort(want); !slices.Equal(all, want) {
			t.Fatalf("got %v, want each of %v once", all, want)
		}
		if slices.Max(sizes)-slices.Min(sizes) > 1 {
			t.Fatalf("got parts of %v cells, want them alike", sizes)
		}
	})
}

// TestShardsKeepTheirCells proves that a cell's part depends on the names in the
// plan only, not on its order.
func TestShardsKeepTheirCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jobs, _ := plans(t)
		parts := rapid.IntRange(1, 20).Draw(t, "parts")
		other := rapid.Permutation(jobs).Draw(t, "other order")
		for k := 1; k <= parts; k++ {
			a, b := ids(splitJobs(jobs, parts).part(jobs, k)), ids(splitJobs(other, parts).part(other, k))
			slices.Sort(a)
			if slices.Sort(b); !slices.Equal(a, b) {
				t.Fatalf("part %d: got %v and %v of the same cells", k, a, b)
			}
		}
	})
}

// TestSplitMark proves that a split that differs has another name.
func TestSplitMark(t *testing.T) {
	jobs := []job{{Cell: assay.Cell{ID: "a"}}, {Cell: assay.Cell{ID: "b"}}, {Cell: assay.Cell{ID: "c"}}}
	if two, three := splitJobs(jobs, 2).mark(jobs), splitJobs(jobs, 3).mark(jobs); two == three {
		t.Errorf("got two splits that are both named %s", two)
	}
	if all, some := splitJobs(jobs, 2).mark(jobs), splitJobs(jobs[:2], 2).mark(jobs[:2]); all == some {
		t.Errorf("got two plans' splits that are both named %s", all)
	}
}

// TestStartOrder proves which cell starts first: those that failed, if that is
// asked for, then the unknown, then the longest, and the plan's first of equals.
func TestStartOrder(t *testing.T) {
	past := map[string]assay.Past{
		"short": {Seconds: 1}, "long": {Seconds: 9}, "bad": {Seconds: 2, Failed: true}, "broken": {Failed: true}, "short2": {Seconds: 1},
	}
	var jobs []job
	for _, id := range []string{"short", "new", "long", "bad", "short2", "new2", "broken"} {
		jobs = append(jobs, job{Cell: assay.Cell{ID: id}})
	}
	for _, tt := range []struct {
		past map[string]assay.Past
		last Last
		want string
	}{
		{nil, LastAny, "short new long bad short2 new2 broken"},
		{past, LastAny, "new new2 broken long bad short short2"},
		{past, LastOnly, "new new2 broken long bad short short2"},
		{past, LastFirst, "broken bad new new2 long short short2"},
	} {
		var got []string
		for _, i := range startOrder(jobs, tt.past, tt.last) {
			got = append(got, jobs[i].Cell.ID)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q: got %s, want %s", tt.last, got, tt.want)
		}
	}
}

// TestParseShard proves which parts there are.
func TestParseShard(t *testing.T) {
	for in, want := range map[string]Shard{"1/1": {1, 1}, "2/5": {2, 5}, "1000/1000": {1000, 1000}} {
		if got, err := ParseShard(in); err != nil || got != want || got.String() != in {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1", "/", "1/", "/2", "0/2", "3/2", "-1/2", "1/0", "1/2/3", "a/b", "1/1001", " 1/2", "1.5/2"} {
		if got, err := ParseShard(in); err == nil || !strings.Contains(err.Error(), "want I/N such as 1/3") {
			t.Errorf("%q: got %v, %v, want an error that says what to write", in, got, err)
		}
	}
}

// TestStartOrderTakesTurns proves that of unknown cells one of each image starts
// before the second of any, so that templates are made at the same time.
func TestStartOrderTakesTurns(t *testing.T) {
	var jobs []job
	for _, id := range []string{"a1", "a2", "a3", "b1", "b2", "c1"} {
		jobs = append(jobs, job{Cell: assay.Cell{ID: id, Image: id[:1]}})
	}
	var got []string
	for _, i := range startOrder(jobs, map[string]assay.Past{"b2": {Seconds: 9}}, LastAny) {
		got = append(got, jobs[i].Cell.ID)
	}
	if want := "a1 b1 c1 a2 a3 b2"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
