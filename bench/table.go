//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

func cpus() int { return runtime.NumCPU() }

// print writes the report: a table for people, or JSON.
func (r Report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r.rows())
	}
	fmt.Fprintf(w, "assay %s, %d processors, load %.1f before and %.1f after, %.0f s\n", r.Version, r.CPUs, r.Load, loadAverage(), r.Seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	last := ""
	for _, row := range r.rows().Rows {
		if row.Measure != last {
			fmt.Fprintf(t, "\n%s: %s\n", row.Measure, row.Title)
			fmt.Fprint(t, "  \tmedian\tbest\tratio\tn\tCPU s\tload\n")
			last = row.Measure
		}
		row.write(t)
	}
	return t.Flush()
}

// A Table is a report with its medians worked out, in the order of printing.
type Table struct {
	Report
	Rows []Row `json:"rows"`
}

// A Row is what one contestant did by one measure.
type Row struct {
	Measure    string    `json:"measure"`
	Title      string    `json:"title"`
	Unit       string    `json:"unit"`
	Contestant string    `json:"contestant"`
	Median     float64   `json:"median,omitempty"`
	Best       float64   `json:"best,omitempty"`
	Ratio      float64   `json:"ratio,omitempty"` // how many times worse than assay's median; assay's own is 1
	Values     []float64 `json:"values,omitempty"`
	Busy       float64   `json:"busy_seconds,omitempty"` // median CPU seconds of the whole host for one repetition of the subject
	Load       float64   `json:"load,omitempty"`         // median
	Problem    string    `json:"problem,omitempty"`

	measure Measure
}

// rows works out medians and ratios. Within a measure the first contestant is
// assay.
func (r Report) rows() Table {
	t := Table{Report: r}
	for i := 0; i < len(r.Results); {
		n := 1
		for i+n < len(r.Results) && r.Results[i+n].Subject.Name == r.Results[i].Subject.Name {
			n++
		}
		for _, m := range r.Results[i].Subject.Measures {
			t.Rows = append(t.Rows, m.rows(r.Results[i:i+n])...)
		}
		i += n
	}
	return t
}

// rows compares the results of one subject by the measure.
func (m Measure) rows(results []Result) []Row {
	var list []Row
	assays := median(results[0].Values[m.Name])
	for _, x := range results {
		values := x.Values[m.Name]
		mid := median(values)
		list = append(list, Row{
			Measure: m.Name, Title: m.Title, Unit: m.Unit, Contestant: x.Contestant, measure: m,
			Median: mid, Best: m.best(values), Ratio: m.ratio(assays, mid), Values: values,
			Busy: median(x.Busy), Load: median(x.Load), Problem: x.Problem,
		})
	}
	return list
}

// write writes the row for people.
func (row Row) write(w io.Writer) {
	if row.Problem != "" && len(row.Values) == 0 {
		first, _, _ := strings.Cut(row.Problem, "\n")
		fmt.Fprintf(w, "  %s\tnot measured: %s\n", row.Contestant, strconv.Quote(first[:min(len(first), 200)]))
		return
	}
	fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\t%.1f\t%.1f\n", row.Contestant,
		row.measure.show(row.Median), row.measure.show(row.Best), times(row.Ratio), len(row.Values), row.Busy, row.Load)
}

// times writes a ratio.
func times(ratio float64) string {
	switch {
	case ratio == 0:
		return "–"
	case ratio < 10:
		return strconv.FormatFloat(ratio, 'f', 2, 64) + "×"
	}
	return strconv.FormatFloat(ratio, 'f', 0, 64) + "×"
}
