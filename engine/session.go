package engine

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"assay"
	"assay/vm"
)

// A Session is what the verbs of one running cell may touch. Its methods are
// safe for concurrent use; steps belong to the goroutine of the script.
type Session struct {
	env    Env
	job    job
	host   host
	ctx    context.Context
	cancel context.CancelCauseFunc
	began  time.Time
	dir    string  // the cell's own folder
	source *Script // set: run this instead of the file

	mu       sync.Mutex
	queued   time.Duration // spent so far waiting for room on the host
	queueing time.Time     // since when it waits for room now; zero: it does not
	cell     *assay.Cell
	open     []int // indexes of the steps that are under way, outermost first
	machines []*machine
	closers  []func()
	seen     map[string]bool // names of artifacts
	read     map[string]bool // names of parameters that the script asked for
	placebos map[PlaceboQuery]*PlaceboHistory

	making  sync.WaitGroup // launches that go on
	closing bool           // none begins any more; with mu

	beside     context.Context // of what runs beside the script; nil: nothing does
	stopBeside func()
	besides    sync.WaitGroup
}

// A host is what a cell needs of the process that runs the whole run.
type host interface {
	event(Event)
	// reserve waits until the host has room for a machine. An error says why it
	// never will.
	reserve(ctx context.Context, c claim) error
	// launched says that the launch is over that a template was claimed for, and
	// whether the template is there now.
	launched(template string, ok bool)
	release(cpus int, memory int64)
	// spare is reserve for a machine that may be missing: it does not wait, and
	// calls revoke as soon as another machine needs the room.
	spare(ctx context.Context, memory int64, revoke func()) bool
	// asked says which parameters the script asked for.
	asked(params []string)
	// keep returns when the user lets go of the cell's machines.
	keep(ctx context.Context, c assay.Cell, machines []Live)
}

// A job is one cell to run, as it is sent to a child.
type job struct {
	RunID   string            `json:"run"`
	Index   int               `json:"index"` // of the cell in the plan, from 1
	Cell    assay.Cell        `json:"cell"`
	Path    string            `json:"path"`  // of the script, absolute
	Given   map[string]string `json:"given"` // the user's own parameters
	Dir     string            `json:"dir"`   // they count from here
	Timeout time.Duration     `json:"timeout"`
	Keep    Keep              `json:"keep"`
	Placebo PlaceboPolicy     `json:"placebo"`
	Fit     bool              `json:"fit"`
}

// owner names the cell to drivers, so that what it left behind can be swept
// while other cells of the run go on. It is also the name of the cell's folder.
func (j job) owner() string { return fmt.Sprintf("%s.%d", j.RunID, j.Index) }

// Image returns the name of the cell's image.
func (s *Session) Image() string { return s.job.Cell.Image }

// Test returns the name of the cell's test, or its script's if that is itself
// the test.
func (s *Session) Test() string { return cmp.Or(s.job.Cell.Test, s.job.Cell.Script) }

// Driver returns the name of the cell's driver.
func (s *Session) Driver() string { return s.job.Cell.Driver }

// Resolve returns the image that a driver boots by that name.
func (s *Session) Resolve(ctx context.Context, driver, name string) (vm.Image, error) {
	d, err := s.env.driver(driver)
	if err != nil {
		return vm.Image{}, err
	}
	return s.env.images(ctx, d).Resolve(name)
}

// Lack says why a driver's machine has no such ability, and what can be done
// instead; "" if it has it. An unknown word is an error.
func (s *Session) Lack(m vm.Machine, driver, ability string) (string, error) {
	if err := checkAbility(ability, abilities()); err != nil || slices.Contains(vm.Of(m), vm.Capability(ability)) {
		return "", err
	}
	d, err := s.env.driver(driver)
	if err != nil {
		return "", err
	}
	instead := cardOf(d).Instead[vm.Capability(ability)]
	if l, err := vm.As[vm.Limited](m); err == nil {
		own, _ := l.Lacks(vm.Capability(ability))
		instead = cmp.Or(own, instead)
	}
	return lack(d, vm.Info{}, instead, nil, ability), nil
}

// Param returns the value of a parameter: the user's, else the variant's.
func (s *Session) Param(name string) (string, bool) {
	s.mu.Lock()
	s.read[name] = true
	s.mu.Unlock()
	v, ok := s.job.Cell.Params[name]
	return v, ok
}

// Params returns all parameters of the cell.
func (s *Session) Params() map[string]string { return maps.Clone(s.job.Cell.Params) }

// ScriptDir returns the folder of the script, absolute.
func (s *Session) ScriptDir() string { return filepath.Dir(s.job.Path) }

// Stdlib returns what load("@stdlib//…") reads.
func (s *Session) Stdlib() fs.FS { return s.env.Stdlib }

// Steps returns the steps so far, in order, the running one last.
func (s *Session) Steps() []assay.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cell.Steps)
}

// Machine returns the record of a machine of the cell.
func (s *Session) Machine(id string) (assay.Machine, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.cell.Machines, func(m assay.Machine) bool { return m.ID == id })
	if i < 0 {
		return assay.Machine{}, false
	}
	return s.cell.Machines[i], true
}

// Diff returns the stored diff with that id.
func (s *Session) Diff(id int) (assay.Diff, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 1 || id > len(s.cell.Diffs) {
		return assay.Diff{}, false
	}
	return s.cell.Diffs[id-1], true
}

// Log reports what the script says.
func (s *Session) Log(text string) { s.emit(Event{Kind: Log, Text: text}) }

// Phase reports what the running step is doing.
func (s *Session) Phase(text string) { s.emit(Event{Kind: Phase, Text: text, Step: s.current()}) }

// Output reports what a command in the guest just wrote.
func (s *Session) Output(text string) { s.emit(Event{Kind: Output, Text: text, Step: s.current()}) }

func (s *Session) emit(e Event) {
	e.Time, e.Cell = time.Now(), s.job.Cell.ID
	s.host.event(e)
}

// AddCapture stores c under a new id, which it returns.
func (s *Session) AddCapture(c assay.Capture) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.ID, c.Step = len(s.cell.Captures)+1, s.seq()
	s.cell.Captures = append(s.cell.Captures, c)
	return c.ID
}

// SetDigest completes a capture that AddCapture stored: its digest is known later.
func (s *Session) SetDigest(capture int, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Captures[capture-1].Digest = digest
}

// AddDiff stores d under a new id, which it returns.
func (s *Session) AddDiff(d assay.Diff) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ID, d.Step = len(s.cell.Diffs)+1, s.seq()
	s.cell.Diffs = append(s.cell.Diffs, d)
	return d.ID
}

// AddGrade stores g under a new id, which it returns. Its verdict counts for
// the cell's.
func (s *Session) AddGrade(g assay.Grade) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.ID, g.Step = len(s.cell.Grades)+1, s.seq()
	s.cell.Grades = append(s.cell.Grades, g)
	return g.ID
}

// AddCheck stores a check.
func (s *Session) AddCheck(ok bool, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Checks = append(s.cell.Checks, assay.Check{Step: s.seq(), OK: ok, Message: message})
}

// AddMetric stores a number about the cell.
func (s *Session) AddMetric(name string, value float64, unit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Metrics = append(s.cell.Metrics, assay.Metric{Name: name, Value: value, Unit: unit})
}

// Scratch returns the path of a new file or folder that a verb may make; it
// lives as long as the cell, or, as an Artifact, as long as the results.
func (s *Session) Scratch(name string) (string, error) {
	dir := filepath.Join(s.dir, "artifacts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &InfraError{Err: err}
	}
	return filepath.Join(dir, filepath.FromSlash(name)), nil
}

// Artifact keeps the file at path beside the results under name, which the
// cell has not used yet. It returns the artifact's digest. A name that is not
// UTF-8 is kept in quotes, as "out/a\xff": reports and results are text.
func (s *Session) Artifact(name, path string) (string, error) {
	digest, size, err := fileDigest(path)
	if err != nil {
		return "", &InfraError{Err: fmt.Errorf("artifact: %q: %w", name, err)}
	}
	if !utf8.ValidString(name) {
		name = strconv.Quote(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[name] {
		return "", Scriptf("artifact: %q: the name is taken", name)
	}
	s.seen[name] = true
	s.cell.Files = append(s.cell.Files, assay.Artifact{Name: name, Digest: digest, Size: size, Path: path})
	return digest, nil
}

// OnClose registers f to be called when the cell ends, before its machines are
// closed, latest first.
func (s *Session) OnClose(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closers = append(s.closers, f)
}

// seq returns the number of the running step; s.mu is held.
func (s *Session) seq() int {
	if len(s.open) == 0 {
		return 0
	}
	return s.cell.Steps[s.open[len(s.open)-1]].Seq
}
