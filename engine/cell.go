package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"assay"
)

// mute is the host of a session that only plans.
type mute struct{}

func (mute) event(Event)                               {}
func (mute) reserve(context.Context, claim) error      { return nil }
func (mute) launched(string, bool)                     {}
func (mute) release(int, int64)                        {}
func (mute) asked([]string)                            {}
func (mute) spare(context.Context, int64, func()) bool { return false }
func (mute) keep(context.Context, assay.Cell, []Live)  {}
func (s *Session) planning() bool                      { _, ok := s.host.(mute); return ok }
func (s *Session) isKept(v assay.Verdict) bool {
	return s.job.Keep == KeepAlways || s.job.Keep == KeepFailed && v != assay.Pass
}

// paramsRead returns the names of the parameters that the script asked for, sorted.
func (s *Session) paramsRead() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.read))
}

// Planning reports whether the script is only being asked for its settings:
// verbs do not run, and parameters may be missing.
func (s *Session) Planning() bool { return s.planning() }

func newSession(ctx context.Context, cancel context.CancelCauseFunc, env Env, j job, h host) *Session {
	c := j.Cell
	c.Started = time.Now()
	return &Session{env: env, job: j, host: h, ctx: ctx, cancel: cancel, began: c.Started, cell: &c, seen: map[string]bool{}, read: map[string]bool{},
		placebos: map[PlaceboQuery]*PlaceboHistory{},
		dir:      filepath.Join(env.StateDir, "run", j.owner())}
}

// runCell runs one cell to its end: nothing that it made is left, but for the
// artifacts in its folder.
func runCell(ctx context.Context, env Env, j job, h host) *assay.Cell {
	c, _ := runSource(ctx, env, j, h, nil) // the cell holds the error
	return c
}

// runSource is runCell for a script that may be given as text. It also returns
// the script's error as it was.
func runSource(ctx context.Context, env Env, j job, h host, script *Script) (*assay.Cell, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := newSession(ctx, cancel, env, j, h)
	clock := s.clock()
	ctx, stop := clock.Context(ctx, func() error {
		return &InfraError{Err: fmt.Errorf("cell ran longer than %s%s; raise --timeout", j.Timeout, clock.Told())}
	})
	defer stop()
	s.ctx = ctx
	s.source = script
	s.emit(Event{Kind: CellStart, Text: j.Cell.Image})
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = s.evaluate()
	}
	s.endBeside()
	s.settle(judge(ctx, s.cell, err))
	if s.isKept(s.cell.Verdict) && ctx.Err() == nil {
		h.keep(ctx, *s.copy(), s.lives())
	}
	if err := s.close(); err != nil && s.cell.Failure == nil {
		s.settle(judge(context.Background(), s.cell, &InfraError{Err: err}))
	}
	c := s.copy()
	s.emit(cellEnd(c))
	h.asked(s.paramsRead())
	return c, err
}

// cellEnd is the event that ends a cell.
func cellEnd(c *assay.Cell) Event {
	e := Event{Time: time.Now(), Cell: c.ID, Kind: CellEnd, Verdict: c.Verdict}
	if c.Failure != nil {
		e.Text = c.Failure.Message
	}
	return e
}

// settle books how the cell ended.
func (s *Session) settle(v assay.Verdict, f *assay.Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Verdict, s.cell.Failure, s.cell.Seconds = v, f, seconds(s.began)
}

// copy returns the cell as it is now, safe from verbs that still run.
func (s *Session) copy() *assay.Cell {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := *s.cell
	c.Steps, c.Machines, c.Files = slices.Clone(c.Steps), slices.Clone(c.Machines), slices.Clone(c.Files)
	c.Captures, c.Diffs, c.Grades = slices.Clone(c.Captures), slices.Clone(c.Diffs), slices.Clone(c.Grades)
	c.Checks, c.Metrics, c.Placebos = slices.Clone(c.Checks), slices.Clone(c.Metrics), slices.Clone(c.Placebos)
	return &c
}

// graceTime is how long an evaluation that was told to end may take to do so.
// One operation of Starlark cannot be cut short: the process can.
const graceTime = 2 * time.Second

// evaluate runs the script, and gives up on it soon after the context ends.
func (s *Session) evaluate() error {
	done := make(chan error, 1)
	go func() { done <- s.script() }()
	select {
	case err := <-done:
		return err
	case <-s.ctx.Done():
	}
	grace := graceTime
	if isMemory(context.Cause(s.ctx)) {
		grace = 0
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return context.Cause(s.ctx)
	}
}

// script evaluates the cell's script and its test.
func (s *Session) script() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &InfraError{Err: fmt.Errorf("script: panic: %v", r), Detail: string(debug.Stack())}
		}
	}()
	l, err := newLoader(s.job.Path, s.job.Cell.Script, s.env.Stdlib)
	if err != nil {
		return err
	}
	defer l.close()
	p := s.program(l)
	if s.source != nil {
		p.extra = s.source.Load
		return s.runScript(p, s.source.Source)
	}
	src, err := l.read("//" + filepath.Base(s.job.Path))
	if err != nil {
		return err
	}
	return s.runScript(p, src)
}

func (s *Session) runScript(p *program, src []byte) error {
	globals, err := p.exec(s.job.Cell.Script, src)
	if err != nil || s.job.Cell.Test == "" {
		return err
	}
	if globals[s.job.Cell.Test] == nil {
		return Scriptf("%s: no function %s; the script changed since it was planned", s.job.Cell.Script, s.job.Cell.Test)
	}
	return p.call(globals, s.job.Cell.Test)
}

// close lets go of all that the session holds.
func (s *Session) close() error {
	s.mu.Lock()
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	for _, f := range slices.Backward(closers) {
		f()
	}
	return s.closeMachines()
}
