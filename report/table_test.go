package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay"
)

// rows are values of every type that a query gives, and some that are hard to show.
var rows = [][]any{
	{"plain", int64(1), 2.5, nil, []byte("text")},
	{"日本語", int64(-20), 1e21, "a,b\"c\"", []byte{0xff, 0}},
	{"\x1b[31mred\u202e", int64(300), -0.25, "two\nlines", nil},
	{"naïve é", nil, nil, strings.Repeat("long ", 100), []byte{}},
}

var heads = []string{"name", "n", "x", "text", "blob"}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	must(t, Table(&b, heads, rows, 0, false))
	golden(t, "table.txt", b.Bytes())
	for width := 1; width < 100; width++ {
		b.Reset()
		must(t, Table(&b, heads, rows, width, true))
		for _, line := range strings.Split(b.String(), "\n") {
			for _, p := range []paint{bold, dim} {
				line = strings.ReplaceAll(line, "\x1b["+string(p)+"m", "")
			}
			if got := textWidth(strings.ReplaceAll(line, "\x1b[0m", "")); got > width || strings.Contains(line, "\x1b[3") {
				t.Fatalf("width %d: %q takes %d columns", width, line, got)
			}
		}
	}
}

// A row that is shorter or longer than the columns is no reason to panic.
func TestTableRagged(t *testing.T) {
	var b bytes.Buffer
	must(t, Table(&b, []string{"a", "b"}, [][]any{{int64(1)}, {}, {int64(1), "x", "more"}}, 0, false))
	must(t, Table(&b, nil, nil, 0, false))
}

func TestNoColour(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var b bytes.Buffer
	must(t, Table(&b, heads, rows, 0, true))
	must(t, Summary(&b, fixtures()["matrix"], 80, true))
	must(t, Trend(&b, trendFixture(), 80, true))
	if strings.Contains(b.String(), "\x1b") {
		t.Error("colours in spite of NO_COLOR")
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	must(t, CSV(&b, heads, rows))
	golden(t, "table.csv", b.Bytes())
	read, err := csv.NewReader(&b).ReadAll()
	must(t, err)
	if len(read) != len(rows)+1 || read[2][3] != `a,b"c"` || read[3][3] != "two\nlines" || read[4][1] != "" {
		t.Errorf("read back: %q", read)
	}
}

func TestRowsJSON(t *testing.T) {
	var b bytes.Buffer
	must(t, RowsJSON(&b, append(heads, "n"), [][]any{append(rows[1], math.Inf(1)), append(rows[0], "again")}))
	var read []map[string]any
	must(t, json.Unmarshal(b.Bytes(), &read))
	want := []map[string]any{
		{"name": "日本語", "n": -20.0, "x": 1e21, "text": "a,b\"c\"", "blob": "/wA=", "n_2": "+Inf"},
		{"name": "plain", "n": 1.0, "x": 2.5, "text": nil, "blob": "text", "n_2": "again"},
	}
	if diff := cmp.Diff(want, read); diff != "" {
		t.Error(diff)
	}
	b.Reset()
	must(t, RowsJSON(&b, heads, nil))
	if b.String() != "[\n]\n" {
		t.Errorf("no rows: %q", b.String())
	}
}

func TestTextWidth(t *testing.T) {
	for text, want := range map[string]int{"": 0, "abc": 3, "日本": 4, "é": 1, "e\u0301": 1, "✅": 2, "⚠️": 1, "▁▂█": 3, "한": 2, "😀": 2} {
		if got := textWidth(text); got != want {
			t.Errorf("%q takes %d columns, wanted %d", text, got, want)
		}
	}
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"hello", 5, "hello"}, {"hello", 4, "hel…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"hello", 0, "hello"}, {"hello", 1, "…"}} {
		if got := fit(c.text, c.width); got != c.want {
			t.Errorf("fit %q to %d: %q, wanted %q", c.text, c.width, got, c.want)
		}
	}
}

// trendFixture is two skills on three OS versions.
func trendFixture() assay.Trend {
	at := func(letter string, values ...float64) (c assay.TrendCell) {
		for i, v := range values {
			p := assay.TrendPoint{Run: "r", Started: day.Add(time.Duration(i) * time.Hour), Verdict: assay.Pass, Letter: letter, Value: v, Known: v >= 0}
			if !p.Known {
				p.Verdict, p.Letter = assay.Error, ""
			}
			c.Points = append(c.Points, p)
		}
		return c
	}
	return assay.Trend{Metric: "score", By: "test",
		Columns: []assay.TrendColumn{{OS: "debian", Version: "11", Key: "00011"}, {OS: "debian", Version: "12", Key: "00012"}, {OS: "debian", Version: "13", Key: "00013"}},
		Rows: []assay.TrendRow{
			{Script: "skill.star", Test: "test_skill", Subject: "clean-skill", Driver: "qemu", Arch: "amd64", Cells: []assay.TrendCell{at("A", 100, 100, 100), at("A", 98.4, 100), {}}},
			{Script: "skill.star", Test: "test_skill", Subject: "flawed-skill", Driver: "qemu", Arch: "amd64", Cells: []assay.TrendCell{at("F", 81, 70, 62.5, 41), at("B", 81, -1, 83.25), at("B", 81, -1)}},
			{Script: "\x1b[31mx.star", Variant: "root", Driver: "fake", Arch: "amd64", Cells: []assay.TrendCell{{}, {}, at("", 100)}},
		}}
}

// benchFixture is two metrics of different size, by version of assay.
func benchFixture() assay.Trend {
	at := func(values ...float64) (c assay.TrendCell) {
		for _, v := range values {
			c.Points = append(c.Points, assay.TrendPoint{Run: "r", Started: day, Verdict: assay.Pass, Value: v, Known: true})
		}
		return c
	}
	row := func(test, variant string, cells ...assay.TrendCell) assay.TrendRow {
		return assay.TrendRow{Script: "bench", Test: test, Variant: variant, Name: "median", Place: "debian-12", Driver: "bench", Cells: cells}
	}
	return assay.Trend{Metric: "median", By: "metric",
		Columns: []assay.TrendColumn{{OS: "assay", Version: "0.1.0-aaaa"}, {OS: "assay", Version: "0.1.0-bbbb"}},
		Rows:    []assay.TrendRow{row("exec", "assay", at(0.04, 0.02), at(0.0301)), row("in", "scp", at(12.25, 12.26), at(0, 1234.5))}}
}

func TestTrendTable(t *testing.T) {
	for _, metric := range []string{"score", "letter", "seconds"} {
		trend := trendFixture()
		trend.Metric = metric
		var b bytes.Buffer
		must(t, Trend(&b, trend, 0, false))
		golden(t, "trend-"+metric+".txt", b.Bytes())
	}
	var b bytes.Buffer
	must(t, Trend(&b, trendFixture(), 76, false))
	golden(t, "trend-76.txt", b.Bytes())
	b.Reset()
	must(t, Trend(&b, benchFixture(), 0, false))
	golden(t, "trend-metric.txt", b.Bytes())
	b.Reset()
	must(t, Trend(&b, assay.Trend{By: "test"}, 0, false))
	if !strings.Contains(b.String(), "nothing to show") {
		t.Errorf("an empty trend: %q", b.String())
	}
}

func TestHistory(t *testing.T) {
	var b bytes.Buffer
	must(t, History(&b, []assay.RunSummary{
		{ID: "20261123T130009-7f3a", Started: day, Seconds: 92.75, Verdict: assay.Warn, Scripts: []string{"skill.star"}, Images: []string{"debian-11", "debian-12"}, Cells: 4, Letters: []string{"A", "B", "-"}, Findings: 5},
		{ID: "20261123T120009-0001", Started: day.Add(-time.Hour), Scripts: []string{"a.star", "b.star"}, Cells: 1},
	}, 0, false))
	golden(t, "history.txt", b.Bytes())
	b.Reset()
	must(t, History(&b, nil, 0, false))
	if !strings.Contains(b.String(), "no runs") {
		t.Errorf("an empty history: %q", b.String())
	}
}
