//go:build linux

package main

import (
	"context"
	"time"
)

// A Measure is one number by which contestants are compared.
type Measure struct {
	Name  string // one word, unique among all subjects
	Title string
	Unit  string // s, MB/s, MiB, cells/min
	More  bool   // the larger number is the better one
}

// A Subject is something that all its contestants do, in turns. One repetition
// gives values for each of its measures.
type Subject struct {
	Name        string // for -only
	Measures    []Measure
	Contestants []Contestant // assay first: the others are compared with it
	Reps        int          // repetitions unless the user says
	Images      []string     // of assay's that it needs beside the common one
}

// A Contestant is one way of doing a subject.
type Contestant struct {
	Name string
	What string // exactly what is timed
	Slow bool   // it takes so long that it goes slowReps times at most, and not once before
	// Open makes ready what may be ready before the clock runs. What it starts,
	// it hands to the stage to close.
	Open func(context.Context, *Stage) (Sampler, error)
}

// A Sampler does the subject once and returns what it measured.
type Sampler func(context.Context) (Sample, error)

// A Sample is the values of one repetition by measure. One repetition may have
// several values of a measure.
type Sample map[string][]float64

// one is a Sample of a single value.
func one(measure string, value float64) Sample { return Sample{measure: {value}} }

// subjects lists all that is measured. To add one is a file and a line here.
func subjects() []Subject {
	return []Subject{
		launchSubject(), tenSubject(), execSubject(), transferSubject(), snapshotSubject(), diffSubject(), matrixSubject(), memorySubject(),
	}
}

// slowReps is how often a slow contestant goes unless the user says.
const slowReps = 2

// reps returns how often it goes where the subject's contestants go n times.
func (c Contestant) reps(n int) int {
	if c.Slow {
		return min(n, slowReps)
	}
	return n
}

// sampleDeadline bounds one repetition, of which the slowest is ten boots on a
// loaded host.
const sampleDeadline = 20 * time.Minute

// seconds returns how long do takes.
func seconds(do func() error) (float64, error) {
	start := time.Now()
	err := do()
	return time.Since(start).Seconds(), err
}
