package results

import (
	"fmt"
	"testing"
	"time"

	"assay"
)

// history records four runs of two skills on three OS versions, as the weeks
// go by: on debian 12 skill-a gets worse and breaks once, on 13 it is new.
func history(t *testing.T) *DB {
	db := openTemp(t)
	for week := range 4 {
		at := day.AddDate(0, 0, 7*week)
		cells := []*assay.Cell{
			one("skill.star", "9", "skill-a", assay.Pass, 95, at),
			one("skill.star", "12", "skill-a", assay.Pass, float64(95-5*week), at),
		}
		if week == 2 {
			cells[1].Verdict, cells[1].Grades = assay.Error, nil
			cells[1].Failure = &assay.Failure{Kind: assay.InfraFailure, Message: "no answer"}
		}
		if week == 3 {
			c := one("skill.star", "13", "skill-a", assay.Fail, 55, at)
			c.Grades[0].Findings = []assay.Finding{{Rule: "leftover-temp-files", Severity: assay.Medium, Axis: "cleanliness", Points: 5, Message: "m",
				Evidence: []assay.Evidence{{Kind: "file", Key: "/tmp/left"}}}}
			c.Diffs = []assay.Diff{{ID: 1, Changes: []assay.Change{
				{Kind: "file", Key: "/tmp/left", Op: assay.Added}, {Kind: "file", Key: "/tmp/both", Op: assay.Added}}}}
			cells[1].Verdict = assay.Warn
			cells[1].Diffs = []assay.Diff{{ID: 1, Changes: []assay.Change{{Kind: "file", Key: "/tmp/both", Op: assay.Added}}}}
			cells = append(cells, c)
		}
		record(t, db, runOf(fmt.Sprintf("run-%d", week+1), at, cells...))
	}
	record(t, db, runOf("run-5", day.AddDate(0, 1, 0), one("other.star", "12", "skill-b", assay.Pass, 100, day.AddDate(0, 1, 0))))
	return db
}

// shape writes a trend in few letters: a line for each row.
func shape(trend assay.Trend) (lines []string) {
	head := ""
	for _, c := range trend.Columns {
		head += " " + c.OS + "-" + c.Version
	}
	lines = append(lines, head)
	for _, r := range trend.Rows {
		line := r.Script + " " + r.Subject + " " + r.Name + ":"
		for _, c := range r.Cells {
			line += " ["
			for _, p := range c.Points {
				if p.Known {
					line += fmt.Sprintf("%v ", p.Value)
				} else {
					line += string(p.Verdict) + " "
				}
			}
			delta, ok := c.Delta()
			line += fmt.Sprintf("%v %v]", delta, ok)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTrend(t *testing.T) {
	db := history(t)
	for name, c := range map[string]struct {
		query TrendQuery
		want  []string
	}{
		"all": {TrendQuery{}, []string{" debian-9 debian-12 debian-13",
			"other.star skill-b : [0 false] [100 0 false] [0 false]",
			"skill.star skill-a : [95 95 95 95 0 true] [95 90 error 80 -10 true] [55 0 false]"}},
		"last two": {TrendQuery{Last: 2, Script: "sk*"}, []string{" debian-9 debian-12 debian-13",
			"skill.star skill-a : [95 95 0 true] [error 80 0 false] [55 0 false]"}},
		"os glob": {TrendQuery{OS: "debian-1*", Subject: "skill-a"}, []string{" debian-12 debian-13",
			"skill.star skill-a : [95 90 error 80 -10 true] [55 0 false]"}},
		"os": {TrendQuery{OS: "debian", Script: "other*"}, []string{" debian-12", "other.star skill-b : [100 0 false]"}},
		"since": {TrendQuery{Since: day.AddDate(0, 0, 21), Test: "test_it", Driver: "fake"}, []string{" debian-9 debian-12 debian-13",
			"other.star skill-b : [0 false] [100 0 false] [0 false]",
			"skill.star skill-a : [95 0 false] [80 0 false] [55 0 false]"}},
		"seconds": {TrendQuery{Metric: "seconds", OS: "debian-13"}, []string{" debian-13", "skill.star skill-a : [12.5 0 false]"}},
		"boot":    {TrendQuery{Metric: "boot", OS: "debian-13"}, []string{" debian-13", "skill.star skill-a : [0.25 0 false]"}},
		"axis": {TrendQuery{By: "axis", OS: "debian-12", Subject: "skill-a"}, []string{" debian-12",
			"skill.star skill-a security: [95 90 80 -10 true]"}},
		"rule": {TrendQuery{By: "rule"}, []string{" debian-9 debian-12 debian-13",
			"skill.star skill-a leftover-temp-files: [0 0 0 0 0 true] [0 0 0 0 true] [1 0 false]"}},
		"none": {TrendQuery{Script: "nobody"}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := db.Trend(c.query)
			must(t, err)
			same(t, shape(got), c.want)
		})
	}
	expect(t, second(db.Trend(TrendQuery{Metric: "beauty"})), "trend: beauty by test: not known; metrics are [score letter")
	expect(t, second(db.Trend(TrendQuery{By: "axis", Metric: "boot"})), "trend: boot by axis: not known")
	expect(t, second(db.Trend(TrendQuery{Columns: "colour"})), `trend: columns: got "colour", want one of [os version]`)
}

// A metric is found by its name. One that a cell has several times is its mean.
func TestTrendByMetric(t *testing.T) {
	db := openTemp(t)
	for i := range 2 {
		at := day.AddDate(0, 0, i)
		c := one("bench", "12", "", assay.Pass, 90, at)
		c.Metrics = []assay.Metric{{Name: "median", Value: float64(2 + i), Unit: "seconds"}, {Name: "sample", Value: 1}, {Name: "sample", Value: 4}}
		record(t, db, runOf(fmt.Sprintf("run-%d", i), at, c))
	}
	for glob, want := range map[string][]string{
		"median": {" debian-12", "bench  median: [2 3 1 true]"},
		"s*":     {" debian-12", "bench  sample: [2.5 2.5 0 true]"},
		"":       {" debian-12", "bench  median: [2 3 1 true]", "bench  sample: [2.5 2.5 0 true]"},
	} {
		got, err := db.Trend(TrendQuery{By: "metric", Metric: glob})
		must(t, err)
		same(t, shape(got), want)
	}
}

// Versions of assay are columns in the order of their first run, whatever they
// are called, and what ran on two OS versions stays two rows.
func TestTrendByVersion(t *testing.T) {
	db := openTemp(t)
	for i, version := range []string{"0.1.0-ffff", "0.1.0-aaaa", "0.1.0-ffff"} {
		at := day.AddDate(0, 0, i)
		run := runOf(fmt.Sprintf("run-%d", i), at, one("a.star", "12", "s", assay.Pass, float64(90+i), at), one("a.star", "13", "s", assay.Pass, 80, at))
		run.Version = version
		record(t, db, run)
	}
	got, err := db.Trend(TrendQuery{Columns: "version"})
	must(t, err)
	same(t, shape(got), []string{" assay-0.1.0-ffff assay-0.1.0-aaaa", "a.star s : [90 92 2 true] [91 0 false]", "a.star s : [80 80 0 true] [80 0 false]"})
	if got.Rows[0].Place != "debian-12" || got.Rows[1].Place != "debian-13" {
		t.Errorf("got places %q and %q", got.Rows[0].Place, got.Rows[1].Place)
	}
}

// The letter is the grade's: an axis or a rule has none.
func TestTrendLetters(t *testing.T) {
	db := history(t)
	for by, want := range map[string]string{"test": "B", "axis": "", "rule": ""} {
		trend, err := db.Trend(TrendQuery{By: by, OS: "debian-13"})
		must(t, err)
		if last, ok := trend.Rows[0].Cells[0].Last(); !ok || last.Letter != want {
			t.Errorf("by %s: letter %q, wanted %q", by, last.Letter, want)
		}
	}
}

// A driver in a query may not be the driver of a run; two drivers never mix.
func TestTrendKeepsDriversApart(t *testing.T) {
	db := openTemp(t)
	a, b := one("a.star", "12", "s", assay.Pass, 90, day), one("a.star", "12", "s", assay.Pass, 80, day)
	b.ID, b.Driver, b.Machines[0].Driver = b.ID+"2", "qemu", "qemu"
	record(t, db, runOf("r1", day, a, b))
	got, err := db.Trend(TrendQuery{})
	must(t, err)
	if len(got.Rows) != 2 || got.Rows[0].Driver != "fake" || got.Rows[1].Driver != "qemu" || len(got.Columns) != 1 {
		t.Errorf("got %+v", got)
	}
}

// Each view answers its question about the history above.
func TestViews(t *testing.T) {
	db := history(t)
	for text, want := range map[string][][]any{
		"SELECT run, verdict, cells, passed, errors FROM runs ORDER BY run LIMIT 1 OFFSET 2": {{"run-3", "error", int64(2), int64(1), int64(1)}},
		"SELECT version, score, verdict FROM latest WHERE subject = 'skill-a' ORDER BY version_key": {
			{"9", 95.0, "pass"}, {"12", 80.0, "warn"}, {"13", 55.0, "fail"}},
		"SELECT first_version, first_run, versions, cells FROM first_seen WHERE key = '/tmp/both'":            {{"12", "run-4", int64(2), int64(2)}},
		"SELECT kind, op, first_version FROM first_seen WHERE key = 'leftover-temp-files'":                    {{"finding", "MEDIUM", "13"}},
		"SELECT version, previous, kind, key, op FROM new_since ORDER BY version_key, kind, key":              {{"12", "9", "file", "/tmp/both", "added"}, {"13", "12", "file", "/tmp/left", "added"}, {"13", "12", "finding", "leftover-temp-files", "MEDIUM"}},
		"SELECT version, previous_run, was, run, verdict FROM flips":                                          {{"12", "run-2", "pass", "run-4", "warn"}},
		"SELECT rule, severity, version, cells, last_run FROM findings_by_os":                                 {{"leftover-temp-files", "MEDIUM", "13", int64(1), "run-4"}},
		"SELECT evidence FROM findings":                                                                       {{"file /tmp/left"}},
		"SELECT count(*), sum(score IS NULL) FROM trend WHERE subject = 'skill-a'":                            {{int64(9), int64(1)}},
		"SELECT run, letter FROM grades WHERE version = '13'":                                                 {{"run-4", "B"}},
		"SELECT axis, score FROM axes WHERE version = '13'":                                                   {{"security", 55.0}},
		"SELECT key FROM changes WHERE version = '12' AND op = 'added'":                                       {{"/tmp/both"}},
		"SELECT failure, message FROM cells WHERE verdict = 'error'":                                          {{"infrastructure", "no answer"}},
		"SELECT boot_seconds, image FROM machines WHERE version = '13'":                                       {{0.25, "debian-13"}},
		"SELECT kind, key, op FROM sightings ORDER BY kind, key LIMIT 1":                                      {{"file", "/tmp/both", "added"}},
		"SELECT count(*) FROM steps UNION ALL SELECT count(*) FROM checks UNION ALL SELECT 0 FROM slow_steps": {{int64(0)}, {int64(0)}},
	} {
		got := query(t, db, text)
		if len(want) == 0 {
			t.Errorf("%s: wanted nothing", text)
		}
		t.Run(text, func(t *testing.T) { same(t, got, want) })
	}
}

func TestSlowSteps(t *testing.T) {
	db := openTemp(t)
	c := one("a.star", "12", "s", assay.Pass, 90, day)
	c.Steps = []assay.Step{{Seq: 1, Verb: "launch", Seconds: 2.5}, {Seq: 2, Verb: "exec", Detail: "run.sh", Seconds: 10, Exec: &assay.Exec{Code: 3, Stdout: "out"}}}
	c.Checks = []assay.Check{{Step: 2, OK: true, Message: "fine"}}
	record(t, db, runOf("r1", day, c))
	same(t, query(t, db, "SELECT verb, seconds, share FROM slow_steps"), [][]any{{"exec", 10.0, 0.8}, {"launch", 2.5, 0.2}})
	same(t, query(t, db, "SELECT code, stdout FROM steps WHERE verb = 'exec'"), [][]any{{int64(3), "out"}})
	same(t, query(t, db, "SELECT ok, message FROM checks"), [][]any{{int64(1), "fine"}})
}

func TestRuns(t *testing.T) {
	db := history(t)
	list, err := db.Runs(2, RunFilter{})
	must(t, err)
	same(t, list, []assay.RunSummary{
		{ID: "run-5", Started: day.AddDate(0, 1, 0), Seconds: 60, Verdict: assay.Pass, Scripts: []string{"other.star"}, Images: []string{"debian-12"},
			Cells: 1, Verdicts: map[assay.Verdict]int{assay.Pass: 1}, Letters: []string{"B"}},
		{ID: "run-4", Started: day.AddDate(0, 0, 21), Seconds: 60, Verdict: assay.Fail, Scripts: []string{"skill.star"},
			Images: []string{"debian-12", "debian-13", "debian-9"}, Cells: 3, Findings: 1,
			Verdicts: map[assay.Verdict]int{assay.Pass: 1, assay.Warn: 1, assay.Fail: 1}, Letters: []string{"B", "B", "B"}},
	})
	for want, f := range map[int]RunFilter{
		5: {}, 4: {Script: "skill*"}, 3: {Since: day.AddDate(0, 0, 14)}, 1: {Verdict: assay.Error}, 0: {Script: "nobody", Since: time.Time{}},
	} {
		list, err := db.Runs(0, f)
		must(t, err)
		if len(list) != want {
			t.Errorf("%+v: got %d runs, wanted %d", f, len(list), want)
		}
	}
}
