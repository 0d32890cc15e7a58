//go:build linux

package main

import (
	"context"
	"fmt"
)

// matrixCells is how many cells the matrix has: three images by four variants.
const matrixCells = 12

// matrixSubject asks how much testing gets done in a minute.
func matrixSubject() Subject {
	return Subject{
		Name: "matrix", Reps: 2, Images: []string{"debian-11", "debian-12", "debian-13"},
		Measures: []Measure{{Name: "cells", Title: "twelve cells: launch, capture, apt-get install, capture, diff, check", Unit: "cells/min", More: true}},
		Contestants: []Contestant{
			{Name: "assay run", What: "the whole command, as many cells at a time as it chooses", Open: openMatrix()},
			{Name: "assay run -j 1", What: "one cell at a time", Slow: true, Open: openMatrix("-j", "1")},
		},
	}
}

func openMatrix(args ...string) func(context.Context, *Stage) (Sampler, error) {
	return func(_ context.Context, st *Stage) (Sampler, error) {
		return func(ctx context.Context) (Sample, error) {
			var got events
			took, err := seconds(func() (err error) { got, err = st.script(ctx, "matrix.star", args...); return err })
			if err != nil {
				return nil, err
			}
			if n := len(got.steps("diff")); n != matrixCells {
				return nil, fmt.Errorf("assay run: got %d cells with a diff, want %d", n, matrixCells)
			}
			return one("cells", matrixCells*60/took), nil
		}, nil
	}
}
