//go:build linux

package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay"
	"assay/engine"
)

//go:embed scripts
var scripts embed.FS

// script runs one of the benchmark's scripts with "assay run", as a user would,
// and returns what it did. Its results go to the stage and not to the user's.
func (st *Stage) script(ctx context.Context, name string, args ...string) (events, error) {
	text, err := scripts.ReadFile("scripts/" + name)
	if err != nil {
		return nil, err
	}
	dir, err := st.folder("script")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	argv := append([]string{"run", path, "--json", "--no-build",
		"--db", filepath.Join(dir, "results.db"), "--out", filepath.Join(dir, "out")}, args...)
	out, err := st.command(ctx, st.assay, argv...)
	got, bad := readEvents(strings.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, explain(got, err))
	}
	return got, bad
}

// onImage is the argument that runs a script on the common image.
func onImage() []string { return []string{"--image", imageName} }

// events is what "assay run --json" printed.
type events []engine.Event

// maxEvent bounds one line of --json, in bytes.
const maxEvent = 16 << 20

func readEvents(r io.Reader) (events, error) {
	var list events
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var e engine.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return list, fmt.Errorf("assay run --json: %w", err)
		}
		list = append(list, e)
	}
	return list, lines.Err()
}

// explain adds to the error of a run why its cells did not pass.
func explain(list events, err error) error {
	for _, e := range list {
		if e.Kind == engine.CellEnd && e.Text != "" {
			err = fmt.Errorf("%w: %s: %s", err, e.Cell, e.Text)
		}
	}
	return err
}

// steps returns the finished calls of a verb, in order.
func (list events) steps(verb string) []assay.Step {
	var steps []assay.Step
	for _, e := range list {
		if e.Kind == engine.StepEnd && e.Step != nil && e.Step.Verb == verb {
			steps = append(steps, *e.Step)
		}
	}
	return steps
}

// need returns the calls of a verb if there are as many as wanted.
func (list events) need(verb string, n int) ([]assay.Step, error) {
	steps := list.steps(verb)
	if len(steps) != n {
		return nil, fmt.Errorf("assay run: got %d calls of %s, want %d", len(steps), verb, n)
	}
	return steps, nil
}

// span returns the seconds from the start of the first step of a verb to the
// end of the last step of another, over all cells.
func (list events) span(from, to string) (float64, error) {
	var first, last time.Time
	for _, e := range list {
		switch {
		case e.Step == nil:
		case e.Kind == engine.StepStart && e.Step.Verb == from && first.IsZero():
			first = e.Time
		case e.Kind == engine.StepEnd && e.Step.Verb == to:
			last = e.Time
		}
	}
	if first.IsZero() || last.IsZero() {
		return 0, fmt.Errorf("assay run: got no %s followed by %s", from, to)
	}
	return last.Sub(first).Seconds(), nil
}
