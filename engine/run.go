package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"assay"
)

// A run is one call of Run.
type run struct {
	env   Env
	opt   Options
	rec   Recorder
	pool  *pool
	jobs  []job
	order []int // numbers of the jobs, as they start

	eventMu sync.Mutex
	emit    func(Event)

	mu     sync.Mutex // of the recorder and of the record
	record assay.Run
	failed int             // cells so far, for MaxFail
	read   map[string]bool // parameters that some script asked for
	broken error           // the recorder's first error
}

// Run plans and runs all cells, records each as it ends, and returns the record
// of the run. The events of one cell are in order; emit is called by one
// goroutine at a time.
//
// A cell's failure is no error: it is in the record. An error says that the run
// could not be planned (*ScriptError, ErrNothing), that it could not be recorded,
// or that ctx ended before the last cell did: then the error is ErrInterrupted,
// cells that were under way are recorded as interrupted, and finished ones as they are.
func Run(ctx context.Context, env Env, opt Options, rec Recorder, emit func(Event)) (assay.Run, error) {
	w, err := Prepare(ctx, env, opt)
	if err != nil {
		return assay.Run{}, err
	}
	return w.Run(ctx, rec, emit)
}

func (opt Options) withDefaults() (Options, error) {
	opt.RunID = cmp.Or(opt.RunID, NewRunID())
	opt.Keep = cmp.Or(opt.Keep, KeepNever)
	opt.Timeout = cmp.Or(opt.Timeout, DefaultTimeout)
	opt.Jobs = cmp.Or(opt.Jobs, thisHost().CPUs)
	if opt.Jobs < 1 || opt.MaxFail < 0 {
		return opt, Scriptf("jobs: got %d at a time and at most %d failures, want at least 1 and 0", opt.Jobs, opt.MaxFail)
	}
	if opt.Dir != "" {
		return opt, nil
	}
	dir, err := os.Getwd()
	opt.Dir = dir
	return opt, err
}

func (r *run) run(ctx context.Context) (assay.Run, error) {
	r.record = assay.Run{ID: r.opt.RunID, Started: time.Now(), Command: r.opt.Command, Version: assay.Version, Host: thisHost()}
	if err := r.rec.StartRun(r.record); err != nil {
		return r.record, fmt.Errorf("record: %w", err)
	}
	r.record.Cells = make([]*assay.Cell, len(r.jobs))
	r.cells(ctx)
	r.record.Seconds = seconds(r.record.Started)
	var verdicts []assay.Verdict
	for _, c := range r.record.Cells {
		verdicts = append(verdicts, c.Verdict)
	}
	r.record.Verdict = assay.Worst(verdicts...)
	err := errors.Join(r.broken, r.rec.FinishRun(r.record))
	if err != nil {
		return r.record, fmt.Errorf("record: %w", err)
	}
	if ctx.Err() != nil && slices.ContainsFunc(r.record.Cells, interrupted) {
		return r.record, ErrInterrupted
	}
	return r.record, nil
}

func interrupted(c *assay.Cell) bool {
	return c.Failure != nil && c.Failure.Kind == assay.InterruptedFailure
}

// cells runs the jobs, so many at a time.
func (r *run) cells(ctx context.Context) {
	next := make(chan job)
	var wg sync.WaitGroup
	for range min(r.opt.Jobs, len(r.jobs)) {
		wg.Go(func() {
			for j := range next {
				r.cell(ctx, j)
			}
		})
	}
	for _, i := range r.order {
		next <- r.jobs[i]
	}
	close(next)
	wg.Wait()
}

// cell runs one job and records it.
func (r *run) cell(ctx context.Context, j job) {
	started := j.Cell
	started.Started = time.Now()
	r.keepRecord(j.Cell.ID, func() error { return r.rec.StartCell(r.record.ID, &started) })
	c := r.result(ctx, j, started)
	r.mu.Lock()
	r.record.Cells[j.Index-1] = c
	if failed(c.Verdict) {
		r.failed++
	}
	r.mu.Unlock()
	r.keepRecord(j.Cell.ID, func() error { return r.rec.FinishCell(r.record.ID, c) })
}

// result runs one job here or in a child. A cell whose turn comes after the
// interrupt, or after too many others failed, does not start.
func (r *run) result(ctx context.Context, j job, started assay.Cell) *assay.Cell {
	seat := &seat{run: r, cell: j.Cell.ID}
	if f := r.skips(ctx); f != nil {
		started.Verdict, started.Failure = assay.Skip, f
		seat.event(cellEnd(&started))
		return &started
	}
	if len(r.opt.Child) > 0 {
		return runInChild(ctx, r.env, r.opt.Child, j, seat)
	}
	defer r.pool.releaseAll(j.Cell.ID)
	ctx, stop := interruptible(ctx)
	defer stop()
	return runCell(ctx, r.env, j, seat)
}

// skips says why no more cells start; nil if they do.
func (r *run) skips(ctx context.Context) *assay.Failure {
	if ctx.Err() != nil {
		return &assay.Failure{Kind: assay.InterruptedFailure, Message: "interrupted before it started"}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opt.MaxFail == 0 || r.failed < r.opt.MaxFail {
		return nil
	}
	return &assay.Failure{Kind: assay.StoppedFailure, Message: fmt.Sprintf("%d failed, and --maxfail is %d", r.failed, r.opt.MaxFail)}
}

// interruptible returns a context that ends with ErrInterrupted when ctx ends,
// whatever the reason.
func interruptible(ctx context.Context) (context.Context, func()) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(ErrInterrupted) })
	return inner, func() {
		stop()
		cancel(nil)
	}
}

// keepRecord calls the recorder for a cell. Its first error is remembered; cells
// go on, for what they find is also in the returned record.
func (r *run) keepRecord(cell string, f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := f(); err != nil && r.broken == nil {
		r.broken = fmt.Errorf("%s: %w", cell, err)
	}
}

// A seat is one cell's host in the parent.
type seat struct {
	run  *run
	cell string
}

func (s *seat) event(e Event) {
	s.run.eventMu.Lock()
	defer s.run.eventMu.Unlock()
	if s.run.emit != nil {
		s.run.emit(e)
	}
}

func (s *seat) reserve(ctx context.Context, c claim) error {
	return s.run.pool.reserve(ctx, s.cell, c)
}

func (s *seat) launched(template string, ok bool) { s.run.pool.launched(s.cell, template, ok) }

func (s *seat) release(cpus int, memory int64) { s.run.pool.release(s.cell, cpus, memory) }

func (s *seat) asked(params []string) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	for _, p := range params {
		s.run.read[p] = true
	}
}

func (s *seat) keep(ctx context.Context, c assay.Cell, machines []Live) {
	if s.run.env.OnKeep != nil && len(machines) > 0 {
		s.run.env.OnKeep(ctx, c, machines)
	}
}
