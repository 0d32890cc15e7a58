package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"assay"
)

// ServeChild is the other end of Options.Child: it evaluates one script, with
// little memory, for the parent that talks to it on in and out, and returns when
// the parent has the result. When the parent dies in ends: then the machines are
// closed, and ServeChild returns. The caller's process should do nothing else.
func ServeChild(ctx context.Context, env Env, in io.Reader, out io.Writer) error {
	signal.Ignore(os.Interrupt)                             // the parent says when to end
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a parent that is gone is no reason to die: the machines are still there
	p := newPipe(in, out)
	first, err := p.receive()
	if err != nil {
		return fmt.Errorf("child: request: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchMemory(ctx, cancel)
	confine()
	h := &remote{pipe: p, grants: map[int]chan error{}, spares: map[int]func(){}, kept: make(chan struct{}, 1)}
	go h.listen(cancel)
	switch {
	case first.Query != nil:
		sh, err := inspectBounded(ctx, env, *first.Query)
		if err != nil {
			return p.send(message{Failed: newFailure(err)})
		}
		return p.send(message{Sheet: &sh})
	case first.Job != nil:
		defer hold(env.StateDir, first.Job.RunID)()
		return p.send(message{Done: newOutcome(runCell(ctx, env, *first.Job, h))})
	}
	return fmt.Errorf("child: request: got neither a query nor a job")
}

// inspectBounded gives up on an inspection when ctx ends, though one operation
// of Starlark may go on: the process ends soon.
func inspectBounded(ctx context.Context, env Env, q query) (sheet, error) {
	type answer struct {
		sheet sheet
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		sh, err := inspect(ctx, env, q)
		done <- answer{sh, err}
	}()
	select {
	case a := <-done:
		return a.sheet, a.err
	case <-ctx.Done():
		return sheet{}, context.Cause(ctx)
	}
}

// A remote is the host of a cell whose parent is another process.
type remote struct {
	pipe *pipe
	kept chan struct{}

	mu     sync.Mutex
	claims int // so far
	grants map[int]chan error
	spares map[int]func() // what to do when the room is needed
}

// orphanTime is how long a child whose parent died may take to end the launches
// that go on, and to close its machines: those that its user lent it become what
// they were.
const orphanTime = undoTime + undoTime + closeTime + 10*time.Second

// listen hears what the parent says.
func (r *remote) listen(cancel context.CancelCauseFunc) {
	for {
		m, err := r.pipe.receive()
		switch {
		case err != nil:
			time.AfterFunc(orphanTime, func() { os.Exit(3) })
			cancel(ErrInterrupted)
			return
		case m.Cancel:
			cancel(ErrInterrupted)
		case m.Kept:
			r.kept <- struct{}{}
		case m.Grant != nil:
			r.mu.Lock()
			ready := r.grants[m.Grant.ID]
			delete(r.grants, m.Grant.ID)
			r.mu.Unlock()
			if ready != nil {
				ready <- m.Grant.Failure.error()
			}
		case m.Revoke != 0:
			r.revoke(m.Revoke)
		}
	}
}

// event tells the parent. A parent that is gone hears nothing; listen sees to
// the rest.
func (r *remote) event(e Event) { _ = r.pipe.send(message{Event: &e}) }

func (r *remote) reserve(ctx context.Context, want claim) error {
	c, ready := r.claim(want.CPUs, want.Memory, nil)
	c.Template = want.Template
	if err := r.pipe.send(message{Reserve: &c}); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claim makes a claim, and the channel that its answer arrives at.
func (r *remote) claim(cpus int, memory int64, revoke func()) (claim, chan error) {
	ready := make(chan error, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims++
	r.grants[r.claims] = ready
	if revoke != nil {
		r.spares[r.claims] = revoke
	}
	return claim{ID: r.claims, CPUs: cpus, Memory: memory}, ready
}

func (r *remote) release(cpus int, memory int64) {
	_ = r.pipe.send(message{Release: &claim{CPUs: cpus, Memory: memory}}) // a parent that is gone needs it not
}

func (r *remote) launched(template string, ok bool) {
	_ = r.pipe.send(message{Launched: &launch{template, ok}}) // a parent that is gone needs it not
}

func (r *remote) asked(params []string) { _ = r.pipe.send(message{Asked: params}) }

func (r *remote) keep(ctx context.Context, c assay.Cell, machines []Live) {
	if r.pipe.send(message{Keep: &keeping{c, machines}}) != nil {
		return
	}
	select {
	case <-r.kept:
	case <-ctx.Done():
	}
}
