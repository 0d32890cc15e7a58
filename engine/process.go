package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"assay"
)

// A process is a child engine, seen from its parent.
type process struct {
	cmd    *exec.Cmd
	pipe   *pipe
	stdin  io.Closer
	stdout *os.File
	stderr *tail
	ended  chan struct{} // closed when the child is gone
	exit   error         // how, after ended
}

// lastTime is how long what a child said last may take to arrive after its
// death. Processes that it leaves behind may hold its pipes open for ever.
const lastTime = 2 * time.Second

// startChild starts a child in a session of its own: Ctrl-C in the terminal
// reaches the parent only, which tells the child, and the kernel does not count
// it among what is busy in the user's own session.
func startChild(argv []string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), stderr: &tail{}, ended: make(chan struct{})}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, &InfraError{Err: fmt.Errorf("child: %w", err)}
	}
	defer w.Close()
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = w, p.stderr, lastTime
	p.cmd.SysProcAttr = apart()
	in, err := p.cmd.StdinPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		r.Close()
		return nil, &InfraError{Err: fmt.Errorf("child: %w", err)}
	}
	p.stdin, p.stdout, p.pipe = in, r, newPipe(r, in)
	go p.reap()
	return p, nil
}

// reap waits for the child's death and makes sure that nobody waits longer for
// its words.
func (p *process) reap() {
	p.exit = p.cmd.Wait()
	_ = p.stdout.SetReadDeadline(time.Now().Add(lastTime)) // a pipe has deadlines
	close(p.ended)
}

// end waits for the child, which has no more to say, and says how it ended.
func (p *process) end() error {
	p.stdin.Close()
	timer := time.AfterFunc(orphanTime, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	<-p.ended
	p.stdout.Close()
	return p.exit
}

// crash describes a child that ended without a result.
func (p *process) crash(err error) error {
	if e := (*exec.ExitError)(nil); errors.As(err, &e) && e.ExitCode() == exitMemory {
		return errMemory
	}
	if p.stderr.sawMemory() {
		return errMemory
	}
	if err == nil {
		err = errors.New("exit status 0")
	}
	return &InfraError{Err: fmt.Errorf("child: ended without a result: %w", err), Detail: p.stderr.String()}
}

// inspectTime is how long a script may take to say what it wants to be run on.
const inspectTime = time.Minute

// inspectInChild is inspect in a child process.
func inspectInChild(ctx context.Context, argv []string, q query) (sheet, error) {
	p, err := startChild(argv)
	if err != nil {
		return sheet{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inspectTime, Scriptf("%s: top level ran longer than %s", q.Name, inspectTime))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.cmd.Process.Kill() })
	defer stop()
	m, err := p.ask(q)
	exit := p.end()
	switch {
	case ctx.Err() != nil:
		return sheet{}, context.Cause(ctx)
	case err != nil || m.Sheet == nil && m.Failed == nil:
		return sheet{}, p.crash(exit)
	case m.Failed != nil:
		return sheet{}, m.Failed.error()
	}
	return *m.Sheet, nil
}

func (p *process) ask(q query) (message, error) {
	if err := p.pipe.send(message{Query: &q}); err != nil {
		return message{}, err
	}
	return p.pipe.receive()
}

// runInChild is runCell in a child process. A child that breaks down is an
// infrastructure error, and what it leaves behind is swept.
func runInChild(ctx context.Context, env Env, argv []string, j job, s *seat) *assay.Cell {
	w := &watch{seat: s, cell: j.Cell}
	w.cell.Started = time.Now()
	p, err := startChild(argv)
	if err == nil {
		err = w.follow(ctx, p, j)
	}
	if err == nil {
		return finished(env, j, w.done.cell())
	}
	swept, sweepErr := sweepOwner(env, j)
	if sweepErr != nil {
		err = errors.Join(err, sweepErr)
	}
	s.run.pool.releaseAll(s.cell)
	c := &w.cell
	c.Verdict, c.Failure = judge(context.Background(), c, err)
	if swept > 0 {
		c.Failure.Detail += sweptText(swept)
	}
	c.Seconds = seconds(c.Started)
	s.event(cellEnd(c))
	return c
}

// finished returns the cell of a child that ended in order. What it could not
// close is tried once more; else Collect will.
func finished(env Env, j job, c *assay.Cell) *assay.Cell {
	if len(ledgers(filepath.Join(env.StateDir, "run", j.owner()))) == 0 {
		return c
	}
	swept, _ := sweepOwner(env, j) // that it could not be closed, the cell says
	if c.Failure != nil && swept > 0 {
		c.Failure.Detail += sweptText(swept)
	}
	return c
}

func sweptText(n int) string {
	return fmt.Sprintf("\nmachines that it left, and that are destroyed now: %d", n)
}

func sweepOwner(env Env, j job) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	n, err := sweep(ctx, env.Drivers, env.StateDir, []string{j.owner()})
	if err == nil {
		err = closeBooks(filepath.Join(env.StateDir, "run", j.owner()))
	}
	return n, err
}

// closeBooks removes the ledgers of machines that are swept. Those of a user's own
// stay: they tell that nobody gave the machines back.
func closeBooks(dir string) error {
	var errs []error
	for _, file := range ledgers(dir) {
		if l, err := readLive(file); err != nil || l.Existing == "" {
			errs = append(errs, os.Remove(file))
		}
	}
	return errors.Join(errs...)
}

// A watch is what a parent knows of a cell while a child runs it.
type watch struct {
	seat *seat
	done *outcome

	mu   sync.Mutex
	cell assay.Cell // with the steps that ended
}

// cancelTime is how long a child may take to end after an interrupt: as long as
// one that has no parent any more.
const cancelTime = orphanTime

// follow gives the child its job and serves it until it has the result. ctx's
// end is passed on.
func (w *watch) follow(ctx context.Context, p *process, j job) error {
	serving, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	gone := make(chan struct{})
	stopCancel := context.AfterFunc(ctx, func() { p.interrupt(gone) })
	err := p.pipe.send(message{Job: &j})
	for err == nil && w.done == nil {
		var m message
		if m, err = p.pipe.receive(); err == nil {
			w.serve(serving, p, m, &served)
		}
	}
	stopCancel()
	exit := p.end()
	close(gone)
	stop()
	served.Wait()
	switch {
	case w.done != nil:
		w.seat.run.pool.releaseAll(w.seat.cell)
		return nil
	case ctx.Err() != nil:
		return ErrInterrupted
	}
	return p.crash(exit)
}

// interrupt tells the child to end, and ends it if it does not.
func (p *process) interrupt(gone <-chan struct{}) {
	_ = p.pipe.send(message{Cancel: true}) // a child that is gone needs it not
	timer := time.NewTimer(cancelTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		p.cmd.Process.Kill()
	case <-gone:
	}
}

// serve answers one message of the child's.
func (w *watch) serve(ctx context.Context, p *process, m message, served *sync.WaitGroup) {
	switch {
	case m.Event != nil:
		w.note(*m.Event)
		w.seat.event(*m.Event)
	case m.Reserve != nil:
		served.Go(func() {
			err := w.seat.reserve(ctx, *m.Reserve)
			_ = p.pipe.send(message{Grant: &grant{m.Reserve.ID, newFailure(err)}}) // receive sees a dead child
		})
	case m.Spare != nil:
		_ = p.pipe.send(message{Grant: w.spare(p, *m.Spare)})
	case m.Release != nil:
		w.seat.release(m.Release.CPUs, m.Release.Memory)
	case m.Keep != nil:
		served.Go(func() {
			w.seat.keep(ctx, m.Keep.Cell, m.Keep.Machines)
			_ = p.pipe.send(message{Kept: true})
		})
	case m.Launched != nil:
		w.seat.launched(m.Launched.Template, m.Launched.OK)
	case m.Asked != nil:
		w.seat.asked(m.Asked)
	case m.Done != nil:
		w.done = m.Done
	}
}

// note keeps the steps, for a child that does not live to tell.
func (w *watch) note(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == StepEnd && e.Step != nil {
		w.cell.Steps = append(w.cell.Steps, *e.Step)
	}
}

// A tail keeps the last bytes that were written to it, and whether a report of
// Go's that memory ran out has passed: stacks follow it.
type tail struct {
	mu     sync.Mutex
	buf    []byte
	ranOut bool
}

const tailSize = 16 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	t.ranOut = t.ranOut || ranOut(t.buf)
	if extra := len(t.buf) - tailSize; extra > 0 {
		t.buf = append(t.buf[:0], t.buf[extra:]...)
	}
	return len(b), nil
}

// sawMemory reports whether a report that memory ran out was among the writes.
func (t *tail) sawMemory() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ranOut
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
