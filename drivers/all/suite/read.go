package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// An event is one line of "go test -json".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// A test is what is known of one test, or of a package where name is empty.
type test struct {
	pkg, name string
	action    string // pass, fail or skip; empty: it never ended
	said      []string
}

// results are the tests in the order in which they began.
type results struct {
	tests  []*test
	byName map[string]*test
	failed []string
}

// read reads what go test says to its end.
func read(r io.Reader) (*results, error) {
	all := &results{byName: map[string]*test{}}
	d := json.NewDecoder(r)
	for {
		var e event
		switch err := d.Decode(&e); {
		case errors.Is(err, io.EOF):
			return all, all.complete()
		case err != nil:
			return nil, fmt.Errorf("got no output of go test -json: %w", err)
		}
		all.take(e)
	}
}

// complete fails if nothing ran: an empty table would look as if nothing failed.
func (r *results) complete() error {
	if len(r.tests) == 0 {
		return errors.New("got no test, want the output of go test -json")
	}
	return nil
}

func (r *results) take(e event) {
	key := e.Package + " " + e.Test
	t := r.byName[key]
	if t == nil {
		t = &test{pkg: e.Package, name: e.Test}
		r.byName[key] = t
		r.tests = append(r.tests, t)
	}
	switch e.Action {
	case "output":
		t.said = append(t.said, strings.TrimSpace(e.Output))
	case "fail", "build-fail":
		t.action = "fail"
		r.failed = append(r.failed, strings.TrimSpace(key))
	case "pass", "skip":
		t.action = e.Action
	}
}

// A suite is one run of the suite by a test of a driver's.
type suite struct {
	pkg, test string // the latter with the ring: "TestConformance/real"
	ring      string
	driver    string
	version   string
}

// What drivertest.Run and standin.Replay log.
var (
	suiteLine      = regexp.MustCompile(`suite (\S+): (\S+) on (.*)$`)
	transcriptLine = regexp.MustCompile(`transcript (\S+): (\d+) calls (.*)$`)
)

// suites lists the runs of the suite.
func (r *results) suites() []suite {
	var all []suite
	for _, t := range r.tests {
		for _, line := range t.said {
			if m := suiteLine.FindStringSubmatch(line); m != nil {
				all = append(all, suite{pkg: t.pkg, test: t.name, ring: m[1], driver: m[2], version: m[3]})
			}
		}
	}
	return all
}

// row returns how a row of a suite ended, "" if it did not run.
func (r *results) row(s suite, row string) string {
	t := r.byName[s.pkg+" "+s.test+"/"+row]
	if t == nil {
		return ""
	}
	if t.action == "" {
		return "fail" // it began, and the process died
	}
	return t.action
}

// A transcript is one that was replayed to its end.
type transcript struct {
	driver, file, calls, origin string
}

// transcripts lists the transcripts that tests replayed and passed.
func (r *results) transcripts() []transcript {
	var all []transcript
	seen := map[transcript]bool{}
	for _, t := range r.tests {
		if t.action != "pass" {
			continue
		}
		for _, line := range t.said {
			m := transcriptLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			tr := transcript{path.Base(t.pkg), m[1], m[2], m[3]}
			if !seen[tr] {
				seen[tr] = true
				all = append(all, tr)
			}
		}
	}
	return all
}
