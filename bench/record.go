//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"assay"
	"assay/engine"
	"assay/results"
)

// scriptName is what the benchmark's cells have in place of a script.
const scriptName = "bench"

// record keeps the report in a database of results: a run with a cell for each
// measure of each contestant, whose metrics are median, best, ratio, and each
// value as a sample.
func record(path string, r Report) (err error) {
	db, err := results.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	run := r.run()
	cells := run.Cells
	run.Cells, run.Verdict = nil, ""
	if err := db.StartRun(run); err != nil {
		return err
	}
	for _, c := range cells {
		if err := errors.Join(db.StartCell(run.ID, c), db.FinishCell(run.ID, c)); err != nil {
			return err
		}
	}
	run.Cells, run.Verdict = cells, verdict(r.missing())
	return db.FinishRun(run)
}

// run says the report in the words of a run.
func (r Report) run() assay.Run {
	name, _ := os.Hostname()
	run := assay.Run{
		ID: engine.NewRunID(), Started: r.Started, Seconds: r.Seconds, Version: r.Version, Command: []string{"make", "bench"},
		Host: assay.Host{Name: name, OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: r.CPUs},
	}
	for _, row := range r.rows().Rows {
		i := slices.IndexFunc(r.Results, func(x Result) bool {
			return x.Contestant == row.Contestant && slices.ContainsFunc(x.Subject.Measures, func(m Measure) bool { return m.Name == row.Measure })
		})
		run.Cells = append(run.Cells, row.cell(r.Results[i].Started, r.Results[i].Seconds))
	}
	return run
}

// cell says the row in the words of a cell.
func (row Row) cell(started time.Time, seconds float64) *assay.Cell {
	c := &assay.Cell{
		ID:     fmt.Sprintf("%s:%s@%s[%s]", scriptName, row.Measure, imageName, row.Contestant),
		Script: scriptName, Test: row.Measure, Image: imageName, Driver: "bench", Variant: row.Contestant,
		Started: started, Seconds: seconds, Verdict: verdict(row.Problem != ""),
	}
	if row.Problem != "" {
		c.Failure = &assay.Failure{Kind: assay.InfraFailure, Message: row.Problem}
	}
	if len(row.Values) == 0 {
		return c
	}
	unit := units[row.Unit]
	c.Metrics = []assay.Metric{
		{Name: "median", Value: row.Median, Unit: unit}, {Name: "best", Value: row.Best, Unit: unit},
		{Name: "ratio", Value: row.Ratio, Unit: "count"}, {Name: "busy_seconds", Value: row.Busy, Unit: "seconds"},
		{Name: "load", Value: row.Load, Unit: "count"},
	}
	for _, v := range row.Values {
		c.Metrics = append(c.Metrics, assay.Metric{Name: "sample", Value: v, Unit: unit})
	}
	return c
}

// units are the database's words for the units of measures.
var units = map[string]string{"s": "seconds", "MB/s": "MB/s", "MiB": "MiB", "cells/min": "cells/min"}

// verdict is error where something could not be measured: that is never anybody's
// being slow.
func verdict(missing bool) assay.Verdict {
	if missing {
		return assay.Error
	}
	return assay.Pass
}
