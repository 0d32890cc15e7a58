package results

import (
	"fmt"
	"os"
	"testing"
	"time"

	"assay"
)

// busy is a cell as a skill makes it: 12 steps, 60 changes, 5 findings, 20 clears.
func busy(script, version, subject string, started time.Time) *assay.Cell {
	c := one(script, version, subject, assay.Warn, 81, started)
	for i := range 12 {
		c.Steps = append(c.Steps, assay.Step{Seq: i + 1, Verb: "exec", Detail: fmt.Sprint("bash run.sh ", i), Position: "skill.star:12", Seconds: 0.5,
			Exec: &assay.Exec{Command: []string{"bash", "run.sh"}, User: "tester", Stdout: "done\n"}})
	}
	d := assay.Diff{ID: 1, Before: 1, After: 2}
	for i := range 60 {
		d.Changes = append(d.Changes, assay.Change{Kind: "file", Key: fmt.Sprintf("/usr/share/doc/jq/file-%d", i), Op: assay.Added, Group: "package jq",
			After: map[string]string{"type": "file", "mode": "0644", "owner": "root", "size": "1234", "sha256": fmt.Sprintf("%064d", i)}})
	}
	c.Diffs = []assay.Diff{d}
	g := &c.Grades[0]
	for i := range 5 {
		g.Findings = append(g.Findings, assay.Finding{Rule: fmt.Sprint("rule-", i), Severity: assay.High, Axis: "security", Points: 5, Message: "a message", Recommendation: "do it",
			Evidence: []assay.Evidence{{Kind: "file", Key: fmt.Sprintf("/usr/share/doc/jq/file-%d", i)}}})
	}
	for i := range 20 {
		g.Checks = append(g.Checks, assay.Clear{Rule: fmt.Sprint("clear-", i), Axis: "security", Message: "No cron jobs created"})
	}
	return c
}

// BenchmarkFinishCell records busy cells, one transaction each.
func BenchmarkFinishCell(b *testing.B) {
	db := openTemp(b)
	must(b, db.StartRun(assay.Run{ID: "r", Started: day}))
	n := 0
	for b.Loop() {
		n++
		must(b, db.FinishCell("r", busy(fmt.Sprintf("s%d.star", n), "12", "skill", day.Add(time.Duration(n)*time.Second))))
	}
	if info, err := os.Stat(db.Path()); err == nil {
		b.ReportMetric(float64(info.Size())/float64(n), "B/cell")
	}
}

// BenchmarkTrend asks for the trend of one test, and of all, over 50,000 cells:
// 20 scripts, 5 OS versions, 500 runs.
func BenchmarkTrend(b *testing.B) {
	db := openTemp(b)
	for r := range 500 {
		at := day.Add(time.Duration(r) * time.Hour)
		must(b, db.record(func(t *tx) {
			id := t.nextID("run")
			run := runOf(fmt.Sprintf("run-%04d", r), at)
			runs.insert(t, &run, id)
			for s := range 20 {
				for v := range 5 {
					t.finish(id, one(fmt.Sprintf("s%d.star", s), fmt.Sprint(9+v), "skill", assay.Pass, float64(60+(r+s)%40), at))
				}
			}
		}))
	}
	for name, q := range map[string]TrendQuery{"one": {Script: "s7.star"}, "all": {}, "axis": {Script: "s7.star", By: "axis"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				trend, err := db.Trend(q)
				if must(b, err); len(trend.Columns) != 5 {
					b.Fatal(trend)
				}
			}
		})
	}
	for _, view := range []string{"latest WHERE script = 's7.star'", "latest", "flips WHERE script = 's7.star'", "flips", "new_since", "findings_by_os"} {
		b.Run(view, func(b *testing.B) {
			for b.Loop() {
				_, err := db.Query(b.Context(), "SELECT * FROM "+view)
				must(b, err)
			}
		})
	}
}

// BenchmarkOpen opens a database of 1,000 busy cells, which checks its pages.
func BenchmarkOpen(b *testing.B) {
	db := openTemp(b)
	must(b, db.StartRun(assay.Run{ID: "r", Started: day}))
	for i := range 1000 {
		must(b, db.FinishCell("r", busy(fmt.Sprintf("s%d.star", i), "12", "skill", day)))
	}
	must(b, db.Close())
	for b.Loop() {
		again, err := Open(db.Path())
		must(b, err)
		must(b, again.Close())
	}
}

// BenchmarkRuns lists the newest 50 of 500 runs.
func BenchmarkRuns(b *testing.B) {
	db := openTemp(b)
	for r := range 500 {
		must(b, db.FinishRun(runOf(fmt.Sprintf("run-%04d", r), day.Add(time.Duration(r)*time.Hour), busy("s.star", "12", "skill", day))))
	}
	for b.Loop() {
		_, err := db.Runs(50, RunFilter{})
		must(b, err)
	}
}
