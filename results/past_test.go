package results

import (
	"testing"
	"time"

	"assay"
)

// spent is a cell that took so long and ended so.
func spent(verdict assay.Verdict, seconds float64, started time.Time) *assay.Cell {
	c := one("a.star", "12", "s", verdict, 90, started)
	c.Seconds = seconds
	return c
}

// TestPast proves what history says of a cell before it runs again.
func TestPast(t *testing.T) {
	queued := spent(assay.Pass, 100, day)
	queued.Metrics = []assay.Metric{{Name: assay.QueueSeconds, Value: 60, Unit: "seconds"}, {Name: assay.QueueSeconds, Value: 30, Unit: "seconds"}, {Name: "boot_seconds", Value: 5}}
	for _, tt := range []struct {
		name  string
		cells []*assay.Cell // of one run each, oldest first
		want  assay.Past
	}{
		{"never ran", nil, assay.Past{}},
		{"once", []*assay.Cell{spent(assay.Pass, 3, day)}, assay.Past{Seconds: 3}},
		{"the median, and the last verdict", []*assay.Cell{spent(assay.Pass, 3, day), spent(assay.Fail, 50, day), spent(assay.Warn, 4, day)}, assay.Past{Seconds: 4}},
		{"failed last time", []*assay.Cell{spent(assay.Pass, 3, day), spent(assay.Fail, 5, day)}, assay.Past{Seconds: 5, Failed: true}},
		{"what broke was not as long as it is", []*assay.Cell{spent(assay.Pass, 3, day), spent(assay.Error, 900, day)}, assay.Past{Seconds: 3, Failed: true}},
		{"a skip tells nothing", []*assay.Cell{spent(assay.Fail, 3, day), spent(assay.Skip, 0, day)}, assay.Past{Seconds: 3, Failed: true}},
		{"only broke", []*assay.Cell{spent(assay.Error, 3, day)}, assay.Past{Failed: true}},
		{"waiting is not working", []*assay.Cell{queued}, assay.Past{Seconds: 10}},
		{"only the last ones count", []*assay.Cell{spent(assay.Pass, 90, day), spent(assay.Pass, 90, day), spent(assay.Pass, 90, day), spent(assay.Pass, 90, day),
			spent(assay.Pass, 1, day), spent(assay.Pass, 1, day), spent(assay.Pass, 2, day), spent(assay.Pass, 90, day), spent(assay.Pass, 1, day)}, assay.Past{Seconds: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := openTemp(t)
			for i, c := range tt.cells {
				c.Started = day.Add(time.Duration(i) * time.Hour)
				record(t, db, runOf(time.Duration(i).String(), c.Started, c))
			}
			asked := *spent("", 0, day)
			got, err := db.Past(t.Context(), []assay.Cell{asked})
			must(t, err)
			if got[asked.ID] != tt.want {
				t.Errorf("got %+v, want %+v", got[asked.ID], tt.want)
			}
		})
	}
}

// TestPastIsOfTheSameCell proves that other tests, places and subjects say nothing.
func TestPastIsOfTheSameCell(t *testing.T) {
	db := openTemp(t)
	record(t, db, runOf("r", day, spent(assay.Fail, 7, day)))
	for name, tt := range map[string]struct {
		change func(*assay.Cell)
		want   assay.Past
	}{
		"same":          {func(*assay.Cell) {}, assay.Past{Seconds: 7, Failed: true}},
		"other script":  {func(c *assay.Cell) { c.Script = "b.star" }, assay.Past{}},
		"other test":    {func(c *assay.Cell) { c.Test = "test_that" }, assay.Past{}},
		"other image":   {func(c *assay.Cell) { c.Image = "debian-13" }, assay.Past{}},
		"other driver":  {func(c *assay.Cell) { c.Driver = "qemu" }, assay.Past{}},
		"other variant": {func(c *assay.Cell) { c.Variant = "v" }, assay.Past{}},
		"other subject": {func(c *assay.Cell) { c.Params = map[string]string{"skill": "t"} }, assay.Past{Seconds: 7}},
		"no parameters": {func(c *assay.Cell) { c.Params = nil }, assay.Past{Seconds: 7}},
	} {
		asked := *spent("", 0, day)
		tt.change(&asked)
		got, err := db.Past(t.Context(), []assay.Cell{asked})
		must(t, err)
		if got[asked.ID] != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got[asked.ID], tt.want)
		}
	}
}

// TestPastWithoutParameters proves that parameters that no run ever had are not none.
func TestPastWithoutParameters(t *testing.T) {
	db := openTemp(t)
	c := spent(assay.Fail, 7, day)
	c.Params = nil
	record(t, db, runOf("r", day, c))
	asked := *c
	asked.Params = map[string]string{"skill": "never seen"}
	for want, cell := range map[bool]assay.Cell{true: *c, false: asked} {
		got, err := db.Past(t.Context(), []assay.Cell{cell})
		must(t, err)
		if got[cell.ID].Failed != want {
			t.Errorf("%v: got %+v, want failed %v", cell.Params, got[cell.ID], want)
		}
	}
}
