//go:build linux

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/results"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: got %v, want %v", c.values, got, c.want)
		}
	}
	order := []float64{3, 1, 2}
	median(order)
	if !slices.Equal(order, []float64{3, 1, 2}) {
		t.Error("the values were put in another order")
	}
}

// A ratio says how many times worse than assay's, whichever direction is good.
func TestRatio(t *testing.T) {
	less, more := Measure{Unit: "s"}, Measure{Unit: "MB/s", More: true}
	for _, c := range []struct {
		m             Measure
		assays, value float64
		want          float64
	}{
		{less, 0.2, 20, 100}, {less, 2, 1, 0.5}, {more, 100, 50, 2}, {more, 50, 100, 0.5},
		{less, 0, 1, 0}, {more, 1, 0, 0}, // somebody was not measured
	} {
		if got := c.m.ratio(c.assays, c.value); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v against %v, more is better %v: got %v, want %v", c.value, c.assays, c.m.More, got, c.want)
		}
	}
	if got := more.best([]float64{1, 3, 2}); got != 3 {
		t.Errorf("best of more: got %v, want 3", got)
	}
	if got := less.best([]float64{2, 1, 3}); got != 1 {
		t.Errorf("best of less: got %v, want 1", got)
	}
}

func TestShow(t *testing.T) {
	for _, c := range []struct {
		unit  string
		value float64
		want  string
	}{
		{"s", 0.0412, "41 ms"}, {"s", 1.234, "1.23 s"}, {"s", 61.25, "61.2 s"}, {"MB/s", 0.5, "0.50 MB/s"}, {"MiB", 285.4, "285 MiB"},
	} {
		if got := (Measure{Unit: c.unit}).show(c.value); got != c.want {
			t.Errorf("%v %s: got %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

// fixture is a report in which one contestant could not be measured.
func fixture() Report {
	started := time.Date(2026, 11, 23, 13, 0, 9, 0, time.UTC)
	s := Subject{Name: "move", Measures: []Measure{
		{Name: "in", Title: "a file in", Unit: "MB/s", More: true}, {Name: "wait", Title: "until it is there", Unit: "s"}}}
	result := func(name string, in, wait []float64, problem string) Result {
		return Result{Subject: s, Contestant: name, Started: started, Seconds: 12, Problem: problem,
			Values: map[string][]float64{"in": in, "wait": wait}, Busy: []float64{1.5}, Load: []float64{0.7}}
	}
	return Report{Started: started, Seconds: 60, Version: "0.1.0-abc", CPUs: 2, Load: 0.5, Results: []Result{
		result("assay", []float64{60, 80, 70}, []float64{0.25}, ""),
		result("scp", []float64{35}, []float64{2.5, 3}, ""),
		result("pigeon", nil, nil, "pigeon: \x1b[31mno bird\nat all"),
	}}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := fixture().print(&b, false); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "\n") // the first line has the load of this host
	const golden = "testdata/table.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table != string(want) {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

func TestTableAsJSON(t *testing.T) {
	var b bytes.Buffer
	if err := fixture().print(&b, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"measure": "in"`, `"ratio": 2,`, `"values": [`, `"version": "0.1.0-abc"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got no %s in %s", want, b.String())
		}
	}
}

// What is recorded can be asked for again: each contestant's median, over
// versions of assay.
func TestRecord(t *testing.T) {
	path := t.TempDir() + "/results.db"
	for i, version := range []string{"0.1.0-abc", "0.1.0-def"} {
		r := fixture()
		r.Version, r.Started = version, r.Started.Add(time.Duration(i)*time.Hour)
		for k := range r.Results {
			r.Results[k].Started = r.Started
		}
		if err := record(path, r); err != nil {
			t.Fatal(err)
		}
	}
	db, err := results.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	trend, err := db.Trend(results.TrendQuery{Script: "bench", By: "metric", Metric: "median", Columns: "version"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, row := range trend.Rows {
		for i, cell := range row.Cells {
			if p, ok := cell.Last(); ok {
				got[fmt.Sprintf("%s %s %s", row.Test, row.Variant, trend.Columns[i].Version)] = p.Value
			}
		}
	}
	for _, version := range []string{"0.1.0-abc", "0.1.0-def"} {
		for name, want := range map[string]float64{"in assay": 70, "in scp": 35, "wait assay": 0.25, "wait scp": 2.75} {
			if got[name+" "+version] != want {
				t.Errorf("%s %s: got %v, want %v; have %v", name, version, got[name+" "+version], want, got)
			}
		}
	}
	run, err := db.Run("last")
	if err != nil {
		t.Fatal(err)
	}
	if run.Verdict != assay.Error || len(run.Cells) != 6 || strings.Join(run.Command, " ") != "make bench" {
		t.Errorf("got a run %q with verdict %s and %d cells, want make bench, error and 6", run.Command, run.Verdict, len(run.Cells))
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(subjects(), "exec,launch", "")
	if err != nil || len(got) != 2 || got[0].Name != "launch" || got[1].Name != "exec" {
		t.Errorf("got %v and %v, want launch and exec", got, err)
	}
	if _, err := choose(subjects(), "launch,speed", ""); err == nil || !strings.Contains(err.Error(), `got "speed", want some of launch,`) {
		t.Errorf("got %v, want an error that lists what there is", err)
	}
	got, err = choose(subjects(), "exec", "ssh")
	if err != nil || len(got[0].Contestants) != 2 || got[0].Contestants[0].Name != "assay" || got[0].Contestants[1].Name != "ssh" {
		t.Errorf("against ssh: got %+v and %v, want assay and ssh", got, err)
	}
}

// Names are keys: in the database of measures and contestants, for -only of subjects.
func TestSubjectsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range subjects() {
		var names []string
		for _, m := range s.Measures {
			names = append(names, "measure "+m.Name)
		}
		for _, c := range s.Contestants {
			names = append(names, s.Name+" "+c.Name)
		}
		if !strings.HasPrefix(s.Contestants[0].Name, "assay") {
			t.Errorf("%s: got %s first, want assay, which the others are compared with", s.Name, s.Contestants[0].Name)
		}
		for _, name := range append(names, "subject "+s.Name) {
			if seen[name] {
				t.Errorf("%s: twice", name)
			}
			seen[name] = true
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-only", "speed"}, {"-n", "-1"}, {"extra"}, {"-what"}} {
		var out, problem bytes.Buffer
		if code := run(t.Context(), args, &out, &problem); code != exitUsage || problem.Len() == 0 {
			t.Errorf("%q: got exit code %d and %q, want %d and why", args, code, problem.String(), exitUsage)
		}
	}
	var out, problem bytes.Buffer
	if code := run(t.Context(), []string{"-list"}, &out, &problem); code != 0 || !strings.Contains(out.String(), "autopkgtest-virt-qemu") {
		t.Errorf("-list: got exit code %d and %q", code, out.String())
	}
}

// Contestants take turns, one that fails is out, and what was started ends in
// reverse.
func TestTurns(t *testing.T) {
	var trace []string
	contestant := func(name string, dies int) Contestant {
		return Contestant{Name: name, What: name, Slow: name == "d", Open: func(_ ctx, st *Stage) (Sampler, error) {
			st.afterwards(func() error { trace = append(trace, "end "+name); return nil })
			times := 0
			return func(ctx) (Sample, error) {
				trace = append(trace, name)
				if times++; dies > 0 && times >= dies {
					return nil, errors.New("broken")
				}
				return one("x", float64(times)), nil
			}, nil
		}}
	}
	st := &Stage{dir: t.TempDir(), say: func(string) {}}
	report, err := st.perform(t.Context(), []Subject{{Name: "s", Reps: 3, Measures: []Measure{{Name: "x"}},
		Contestants: []Contestant{contestant("a", 0), contestant("b", 2), contestant("c", 1), contestant("d", 0)}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Each once before it counts, but for d, which is slow; b breaks in the first
	// turn, c before; both are tried again.
	want := "a b c c a b b d a d a end d end c end b end a"
	if got := strings.Join(trace, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := report.Results[0].Values["x"]; !slices.Equal(got, []float64{2, 3, 4}) {
		t.Errorf("got %v of a, want the second to the fourth", got)
	}
	if !report.missing() || report.Results[1].Problem != "broken" || report.Results[2].Problem != "broken" {
		t.Errorf("got %+v, want b and c missing", report.Results)
	}
}
