package assay

import "time"

// A RunSummary is one line of the history of runs.
type RunSummary struct {
	ID       string          `json:"id"`
	Started  time.Time       `json:"started"`
	Seconds  float64         `json:"seconds"`
	Verdict  Verdict         `json:"verdict"` // empty while the run goes on
	Command  []string        `json:"command"`
	Scripts  []string        `json:"scripts"`  // sorted, each once
	Images   []string        `json:"images"`   // sorted, each once
	Cells    int             `json:"cells"`    // planned or started
	Verdicts map[Verdict]int `json:"verdicts"` // finished cells by verdict
	Letters  []string        `json:"letters"`  // of every grade, in the order of the cells
	Findings int             `json:"findings"` // of all grades, without the waived
}

// A Past is what earlier runs showed of a cell.
type Past struct {
	Seconds float64 `json:"seconds"` // that it usually takes; 0: not known
	Failed  bool    `json:"failed"`  // it fell short or broke when it ran last
}

// A Trend is one number of each test, by OS version or version of assay, and over time.
type Trend struct {
	Metric  string        `json:"metric"`
	By      string        `json:"by"`      // test, axis, rule or metric: what a row's Name is
	Columns []TrendColumn `json:"columns"` // by OS, then in version order; versions of assay by their first run
	Rows    []TrendRow    `json:"rows"`    // sorted by script, test, variant, subject, name
}

// A TrendColumn is one OS version, or one version of assay.
type TrendColumn struct {
	OS      string `json:"os"` // "assay" for a version of assay
	Version string `json:"version"`
	Key     string `json:"key"` // sortable: see VersionKey; of assay the moment of its first run
}

// A TrendRow is one test of one subject with one driver.
type TrendRow struct {
	Script  string      `json:"script"`
	Test    string      `json:"test"`
	Variant string      `json:"variant,omitempty"`
	Subject string      `json:"subject,omitempty"`
	Name    string      `json:"name,omitempty"`  // of the axis, the rule or the metric; empty by test
	Place   string      `json:"place,omitempty"` // debian-12, where the columns are versions of assay
	Driver  string      `json:"driver"`
	Arch    string      `json:"arch"`
	Cells   []TrendCell `json:"cells"` // one for each column
}

// A TrendCell is what became of one row on one OS version.
type TrendCell struct {
	Points []TrendPoint `json:"points"` // oldest first; empty: never ran there
}

// A TrendPoint is one measurement.
type TrendPoint struct {
	Run     string    `json:"run"`
	Started time.Time `json:"started"` // of the cell
	Verdict Verdict   `json:"verdict"`
	Letter  string    `json:"letter,omitempty"`
	Value   float64   `json:"value"`
	Known   bool      `json:"known"` // false: the run ended before there was a value
}

// Last returns the newest point; false when there is none.
func (c TrendCell) Last() (TrendPoint, bool) {
	if len(c.Points) == 0 {
		return TrendPoint{}, false
	}
	return c.Points[len(c.Points)-1], true
}

// Delta returns how much the newest known value differs from the known one
// before it; false when there are not two.
func (c TrendCell) Delta() (float64, bool) {
	var known []float64
	for _, p := range c.Points {
		if p.Known {
			known = append(known, p.Value)
		}
	}
	if len(known) < 2 {
		return 0, false
	}
	return known[len(known)-1] - known[len(known)-2], true
}
