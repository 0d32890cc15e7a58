package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"assay"
	"assay/engine"
	"assay/images"
	"assay/vm"
)

// commands lists every command of the tree.
func commands(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commands(sub)...)
	}
	return all
}

func testApp(out io.Writer) *app {
	return &app{stdin: strings.NewReader(""), stdout: out, stderr: out, home: os.DevNull}
}

// TestHelpShowsAnExample proves that -h of each command shows one, and that the
// example uses no flag that the command lacks.
func TestHelpShowsAnExample(t *testing.T) {
	for _, c := range commands(newRoot(testApp(io.Discard))) {
		if c.Name() == "help" {
			continue
		}
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example, or no short description", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			checkExample(t, c.Root(), strings.TrimSpace(line))
		}
	}
}

// checkExample fails if a line calls a command with a flag that it lacks.
func checkExample(t *testing.T, root *cobra.Command, line string) {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "assay" {
		return
	}
	c, rest, err := root.Find(words[1:])
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return
	}
	for _, w := range rest {
		if w == "--" || strings.HasPrefix(w, "#") || w == "&&" || w == "|" {
			return
		}
		name := strings.TrimLeft(w, "-")
		if name == w || c.Flags().Lookup(name) != nil || len(name) == 1 && c.Flags().ShorthandLookup(name) != nil {
			continue
		}
		t.Errorf("%q: %s has no flag %s", line, c.CommandPath(), w)
	}
}

// TestDocsNameRealCommands proves that every "assay WORD" of the documents is a
// command, and that every command stands in the README.
func TestDocsNameRealCommands(t *testing.T) {
	root := newRoot(testApp(io.Discard))
	known := map[string]bool{}
	for _, c := range root.Commands() {
		known[c.Name()] = true
	}
	word := regexp.MustCompile("(?:`|\\$ |bin/)assay ([a-z]+)")
	for _, file := range []string{"../../README.md", "../../CONTRIBUTING.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range word.FindAllStringSubmatch(string(text), -1) {
			if !known[m[1]] {
				t.Errorf("%s speaks of \"assay %s\", which does not exist", file, m[1])
			}
		}
		if strings.HasSuffix(file, "README.md") {
			for _, c := range root.Commands() {
				if !c.Hidden && c.Name() != "help" && !strings.Contains(string(text), "assay "+c.Name()) {
					t.Errorf("%s says nothing of \"assay %s\"", file, c.Name())
				}
			}
		}
	}
}

func TestExitCode(t *testing.T) {
	for want, errs := range map[int][]error{
		exitPass:        {nil},
		exitUsage:       {usagef("", "x"), engine.Scriptf("x"), &images.NotFoundError{Name: "x"}},
		exitInfra:       {errors.New("x"), &vm.BootError{Err: errors.New("x")}, &engine.InfraError{Err: errors.New("x")}, &images.NotFoundError{Name: "x", Next: "build"}},
		exitInterrupted: {engine.ErrInterrupted, errors.Join(engine.ErrInterrupted, engine.Scriptf("x"))},
		exitNothing:     {engine.ErrNothing, &nothingError{"x"}},
		7:               {&exitError{7}},
	} {
		for _, err := range errs {
			if got := exitCode(fmt.Errorf("run: %w", err)); err != nil && got != want {
				t.Errorf("%v: got exit code %d, want %d", err, got, want)
			}
		}
	}
	if got := exitCode(nil); got != exitPass {
		t.Errorf("nil: got exit code %d, want 0", got)
	}
}

// TestRunCode proves that a failure of ours hides one of the subject, and never
// the other way round.
func TestRunCode(t *testing.T) {
	cell := func(v assay.Verdict, k assay.FailureKind) *assay.Cell {
		c := &assay.Cell{Verdict: v}
		if k != "" {
			c.Failure = &assay.Failure{Kind: k}
		}
		return c
	}
	pass, fail := cell(assay.Pass, ""), cell(assay.Fail, assay.SubjectFailure)
	for name, tc := range map[string]struct {
		cells []*assay.Cell
		want  int
	}{
		"none":                  {nil, exitNothing},
		"pass":                  {[]*assay.Cell{pass}, exitPass},
		"warn":                  {[]*assay.Cell{cell(assay.Warn, "")}, exitPass},
		"skips":                 {[]*assay.Cell{cell(assay.Skip, "")}, exitNothing},
		"one fails":             {[]*assay.Cell{pass, fail}, exitFail},
		"infrastructure":        {[]*assay.Cell{fail, cell(assay.Error, assay.InfraFailure)}, exitInfra},
		"script":                {[]*assay.Cell{fail, cell(assay.Error, assay.InfraFailure), cell(assay.Error, assay.ScriptFailure)}, exitUsage},
		"interrupted":           {[]*assay.Cell{fail, cell(assay.Error, assay.InterruptedFailure)}, exitInterrupted},
		"an error without kind": {[]*assay.Cell{pass, cell(assay.Error, "")}, exitInfra},
	} {
		if got := runCode(assay.Run{Cells: tc.cells}); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestThreshold(t *testing.T) {
	run := assay.Run{Cells: []*assay.Cell{{ID: "c", Grades: []assay.Grade{{Letter: "C", Subject: "s", Findings: []assay.Finding{
		{Rule: "waived", Severity: assay.Critical, Waived: &assay.Waiver{}},
		{Rule: "bad", Severity: assay.High},
	}}}}}}
	for flag, short := range map[string]bool{"A": true, "b": true, "C": false, "D": false, "critical": false, "HIGH": true, "low": true, "": false} {
		limit, err := parseThreshold(flag)
		if err != nil {
			t.Fatal(err)
		}
		if why := limit.reason(run); (why != "") != short {
			t.Errorf("--fail-on %q: got %q, want it to fall short: %v", flag, why, short)
		}
	}
}

// TestPlainView proves that a slow step says what it is doing and for how long,
// and that a guest's control characters do not reach the terminal.
func TestPlainView(t *testing.T) {
	var out bytes.Buffer
	v := &view{out: &out}
	start := time.Now()
	v.event(engine.Event{Time: start, Cell: "c", Kind: engine.CellStart})
	v.event(engine.Event{Time: start, Cell: "c", Kind: engine.StepStart, Step: &assay.Step{Verb: "exec", Detail: "bash run.sh"}})
	v.event(engine.Event{Time: start, Cell: "c", Kind: engine.Phase, Text: "waiting\x1b[2J"})
	v.tellSlow(start.Add(500 * time.Millisecond))
	if strings.Contains(out.String(), "run.sh") {
		t.Errorf("a quick step is told: %q", out.String())
	}
	for _, age := range []time.Duration{1, 2, 3, 5, 6, 10, 15, 21} {
		v.tellSlow(start.Add(age * time.Second))
	}
	got := out.String()
	if n := strings.Count(got, "exec bash run.sh: waiting"); n != 4 {
		t.Errorf("told %d times in 21 s, want 4: after 1, 5, 10 and 21: %q", n, got)
	}
	if strings.ContainsAny(got, "\x1b\r") || !strings.Contains(got, "5.0s so far") {
		t.Errorf("got %q, want the time and no control characters", got)
	}
}

// TestLiveView proves that there is one live line for each running cell, that it
// fits, and that it goes away.
func TestLiveView(t *testing.T) {
	var out bytes.Buffer
	v := &view{out: &out, width: 40}
	start := time.Now()
	for _, id := range []string{"one", "two"} {
		v.event(engine.Event{Time: start, Cell: id, Kind: engine.CellStart})
		v.event(engine.Event{Time: start, Cell: id, Kind: engine.StepStart, Step: &assay.Step{Verb: "exec", Detail: strings.Repeat("x", 100)}})
	}
	out.Reset()
	v.draw(start.Add(3 * time.Second))
	drawn := strings.TrimPrefix(out.String(), "\x1b[2A\x1b[J")
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "one  3.0s  exec xxx") || len([]rune(lines[0])) > 39 {
		t.Errorf("got %q, want two lines of at most 39 columns", lines)
	}
	out.Reset()
	v.event(engine.Event{Time: start, Cell: "one", Kind: engine.CellEnd, Verdict: assay.Pass})
	if !strings.HasPrefix(out.String(), "\x1b[2A\x1b[J") || len(v.cells) != 1 {
		t.Errorf("got %q and %d running cells, want the live lines erased and 1", out.String(), len(v.cells))
	}
}
