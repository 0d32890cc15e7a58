//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Report is what one run of the benchmark measured.
type Report struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Version string    `json:"version"` // of assay
	CPUs    int       `json:"cpus"`
	Load    float64   `json:"load"` // of the host's last minute, before
	Results []Result  `json:"results"`
}

// A Result is what one contestant did in one subject.
type Result struct {
	Subject    Subject              `json:"-"`
	Contestant string               `json:"contestant"`
	What       string               `json:"what"`
	Started    time.Time            `json:"started"`
	Seconds    float64              `json:"seconds"`
	Values     map[string][]float64 `json:"values,omitempty"`       // by measure, in the order of their taking
	Busy       []float64            `json:"busy_seconds,omitempty"` // CPU seconds that the whole host spent, by repetition
	Load       []float64            `json:"load,omitempty"`         // of the host's last minute, by repetition
	Retries    int                  `json:"retries,omitempty"`      // repetitions that failed and were done again
	Problem    string               `json:"problem,omitempty"`      // why it could not be measured
}

// add notes one repetition.
func (r *Result) add(s Sample, busy, load float64) {
	if r.Values == nil {
		r.Values = map[string][]float64{}
	}
	for name, values := range s {
		r.Values[name] = append(r.Values[name], values...)
	}
	r.Busy, r.Load = append(r.Busy, busy), append(r.Load, load)
}

// missing reports whether somebody could not be measured.
func (r Report) missing() bool {
	return slices.ContainsFunc(r.Results, func(x Result) bool { return x.Problem != "" })
}

// text shows a sample for people.
func (s Sample) text(sub Subject) string {
	var parts []string
	for _, m := range sub.Measures {
		if values := s[m.Name]; len(values) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", m.Name, m.show(median(values))))
		}
	}
	return strings.Join(parts, ", ")
}

// median returns the middle value, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// best returns the smallest value, or the largest where more is better; 0 of none.
func (m Measure) best(values []float64) float64 {
	switch {
	case len(values) == 0:
		return 0
	case m.More:
		return slices.Max(values)
	}
	return slices.Min(values)
}

// ratio returns how many times worse than assay's a value is: 2 is half as good,
// in whichever direction is good. It is 0 where there is nothing to compare.
func (m Measure) ratio(assays, value float64) float64 {
	if assays <= 0 || value <= 0 {
		return 0
	}
	if m.More {
		return assays / value
	}
	return value / assays
}

// show writes a value with its unit, in three digits or more.
func (m Measure) show(v float64) string {
	if m.Unit == "s" && v < 1 {
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + " ms"
	}
	digits := 0
	if v < 10 {
		digits = 2
	} else if v < 100 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + m.Unit
}

// versionOf returns the second word of what "assay version" prints.
func versionOf(said string) string {
	words := append(strings.Fields(said), "", "")
	return words[1]
}

// newReport begins a report about a version of assay.
func newReport(version string) Report {
	return Report{Started: time.Now(), Version: version, CPUs: cpus(), Load: loadAverage()}
}

// loadAverage returns the host's load of the last minute; 0 where it is not known.
func loadAverage() float64 {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}

// busySeconds returns the CPU seconds that the host has spent since its start.
func busySeconds() float64 {
	data, _ := os.ReadFile("/proc/stat")
	return busyOf(data)
}

// busyOf reads the first line of /proc/stat: all but idle and waiting.
func busyOf(stat []byte) float64 {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	var ticks float64
	for i, field := range bytes.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // name, idle, iowait; guests are in user already
			continue
		}
		n, _ := strconv.ParseFloat(string(field), 64)
		ticks += n
	}
	return ticks / 100
}
