package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// What a cell can say, beside the name of a ring.
const (
	cellFailed      = "FAILED"
	cellUnsupported = "–"
	cellNotRun      = "not run"
)

// byTranscript is the ring of a row that a driver proves in a subtest
// transcript/ROW, where nothing that has a state can be had.
const byTranscript = "transcript"

// strength orders the rings: the strongest proof is what a cell names.
var strength = []string{"real", "stand-in", "memory", byTranscript}

const head = `# What the suite proved

One suite, every driver (package drivers/drivertest). Each cell says against what
the row passed the last time that "make suite" ran; the file is made of the output
of "go test -json" and of nothing else.

- **real**: the hypervisor itself, at the version below
- **stand-in**: an executable that stands in for the hypervisor's command and plays
  a hypervisor with state; the driver goes through processes, arguments, pipes and
  exit codes as it does with the real one
- **transcript**: single calls and answers, recorded from the real command or
  written from its documentation
- **memory**: the fake driver, which has no hypervisor
- **–**: the driver's machines do not claim the ability that the row needs
- **not run**: the hypervisor was not there, and nothing stands in for it

`

// table renders everything.
func (r *results) table(drivers, rows []string) string {
	var b strings.Builder
	b.WriteString(head)
	suites := r.suites()
	line(&b, append([]string{"row"}, drivers...))
	line(&b, slices.Repeat([]string{"---"}, len(drivers)+1))
	for _, row := range rows {
		cells := []string{row}
		for _, d := range drivers {
			cells = append(cells, r.cell(suites, d, row))
		}
		line(&b, cells)
	}
	r.runs(&b, suites)
	r.replays(&b)
	return b.String()
}

func line(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// cell says how much is proved of one row of one driver. One failure counts more
// than any pass.
func (r *results) cell(suites []suite, driver, row string) string {
	best := cellNotRun
	for _, s := range suites {
		if s.driver != driver {
			continue
		}
		switch r.row(s, row) {
		case "fail":
			return cellFailed
		case "pass":
			best = stronger(best, s.ring)
		case "skip":
			if best == cellNotRun {
				best = cellUnsupported
			}
		}
	}
	if slices.Contains(strength, best) {
		return best
	}
	for _, t := range r.tests {
		if path.Base(t.pkg) == driver && strings.HasSuffix(t.name, "/"+byTranscript+"/"+row) && t.action == "pass" {
			return byTranscript
		}
	}
	return best
}

// stronger returns the ring that proves more.
func stronger(a, b string) string {
	if i := slices.Index(strength, a); i >= 0 && i <= slices.Index(strength, b) {
		return a
	}
	return b
}

// runs lists each run of the suite.
func (r *results) runs(b *strings.Builder, suites []suite) {
	b.WriteString("\n## The runs\n\n")
	line(b, []string{"driver", "test", "ring", "hypervisor", "passed", "not claimed"})
	line(b, slices.Repeat([]string{"---"}, 6))
	for _, s := range suites {
		passed, skipped := 0, 0
		for _, t := range r.tests {
			if t.pkg != s.pkg || !strings.HasPrefix(t.name, s.test+"/") {
				continue
			}
			switch t.action {
			case "pass":
				passed++
			case "skip":
				skipped++
			}
		}
		version := s.version
		if s.ring != "real" {
			version = "says it is " + version
		}
		line(b, []string{s.driver, strings.TrimSuffix(s.test, "/"+s.ring), s.ring, version, fmt.Sprint(passed), fmt.Sprint(skipped)})
	}
}

// replays lists what was replayed, by where it comes from: how often a transcript
// was asked says nothing, what it is worth does.
func (r *results) replays(b *strings.Builder) {
	type source struct{ driver, origin string }
	var order []source
	files := map[source][]string{}
	for _, t := range r.transcripts() {
		origin, doubts, _ := strings.Cut(t.origin, ", "+doubtful)
		key := source{t.driver, strings.ReplaceAll(origin, "|", `\|`)}
		if files[key] == nil {
			order = append(order, key)
		}
		file := strings.TrimSuffix(path.Base(t.file), path.Ext(t.file)) + " (" + t.calls
		if doubts != "" && doubts != "0" {
			file += ", " + doubts + " unconfirmed"
		}
		files[key] = append(files[key], file+")")
	}
	if len(order) == 0 {
		return
	}
	b.WriteString("\n## The transcripts\n\nThe number of calls in brackets, and of points that no source confirms.\n\n")
	line(b, []string{"driver", "origin", "transcripts"})
	line(b, slices.Repeat([]string{"---"}, 3))
	for _, key := range order {
		line(b, []string{key.driver, key.origin, strings.Join(files[key], ", ")})
	}
}

// doubtful is the word before the number of a transcript's points that no source
// confirms, as standin.Replay says it.
const doubtful = "unconfirmed points: "
