package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// orphanGrace is how long a command's descendants get to vanish after it: the
// second half of a pipeline, a child that is just exiting. One that has work to do
// but gets no processor, as in a busy guest, gets busyGrace.
const (
	orphanGrace = 100 * time.Millisecond
	busyGrace   = time.Second
)

// sampleEvery is how often a group that can't tell its peak is looked at.
const sampleEvery = 100 * time.Millisecond

// A job is a command, resolved.
type job struct {
	user *account
	path string // of the program
	argv []string
	env  []string
	dir  string
}

// Exec implements System.
func (o *OS) Exec(ctx context.Context, cmd Command, s Streams) (Exit, error) {
	j, err := prepare(cmd)
	if err != nil {
		return Exit{}, err
	}
	begin := time.Now()
	timed, cancel := timedOut(ctx, cmd.Timeout, s.Expired)
	defer cancel()
	p, err := o.start(j, cmd.TTY, s)
	if err != nil {
		return Exit{}, err
	}
	defer p.close()
	state, err := p.wait(timed)
	if err != nil {
		return Exit{}, err
	}
	exit := p.exit(state)
	exit.Duration = time.Since(begin)
	if err := context.Cause(ctx); err != nil {
		return Exit{}, err
	}
	exit.TimedOut = p.killed
	return exit, p.copyError()
}

// timedOut returns a context that ends with ctx, after limit if there is one, and
// when expired closes.
func timedOut(ctx context.Context, limit time.Duration, expired <-chan struct{}) (context.Context, context.CancelFunc) {
	timed, cancel := context.WithCancel(ctx)
	if limit > 0 {
		timer := time.AfterFunc(limit, cancel)
		context.AfterFunc(timed, func() { timer.Stop() })
	}
	go func() {
		select {
		case <-expired:
			cancel()
		case <-timed.Done():
		}
	}()
	return timed, cancel
}

// prepare resolves user, folder and program of a command.
func prepare(cmd Command) (*job, error) {
	a, err := lookup(cmd.User)
	if err != nil {
		return nil, err
	}
	j := &job{user: a, argv: cmd.Argv, env: a.environment(cmd.Env), dir: a.home}
	if cmd.TTY != nil && cmd.Env["TERM"] == "" {
		j.env = append(j.env, "TERM=xterm-256color")
	}
	if err := j.findDir(cmd.Dir); err != nil {
		return nil, err
	}
	switch {
	case cmd.Shell != "" && len(cmd.Argv) == 0:
		j.argv = []string{"/bin/sh", "-c", cmd.Shell}
	case cmd.Shell != "" || len(cmd.Argv) == 0 || cmd.Argv[0] == "":
		return nil, errors.New("got no command, or two; want argv or a line for the shell")
	}
	j.path, err = findProgram(j.argv[0], j.env, j.dir)
	return j, err
}

// findDir sets the working folder: home, or / where there is no home.
func (j *job) findDir(dir string) error {
	if dir == "" {
		if info, err := os.Stat(j.dir); err != nil || !info.IsDir() {
			j.dir = "/"
		}
		return nil
	}
	full, err := expand(dir, j.user.name)
	if err != nil {
		return err
	}
	info, err := os.Stat(full)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: got a file, want a folder to run in", full)
	}
	j.dir = full
	return nil
}

// findProgram does what a shell does to find a program.
func findProgram(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		full := name
		if !filepath.IsAbs(name) {
			full = filepath.Join(dir, name)
		}
		_, err := os.Stat(full)
		return full, err
	}
	search := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			search = v
		}
	}
	for folder := range strings.SplitSeq(search, ":") {
		full := filepath.Join(folder, name)
		if !filepath.IsAbs(folder) {
			full = filepath.Join(dir, full)
		}
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: no such program in %s: %w", printable(name, maxWord), search, fs.ErrNotExist)
}

// A process is a running command.
type process struct {
	proc   *os.Process
	group  group
	stdin  *os.File // our end; nil without input
	taps   []*tap
	tty    *os.File // the terminal's master; nil without one
	over   chan struct{}
	killed bool
}

// start runs j in a group of its own.
func (o *OS) start(j *job, tty *Size, s Streams) (*process, error) {
	keepFiles()
	p := &process{over: make(chan struct{})}
	attr := &syscall.SysProcAttr{Setsid: true, Credential: j.credential()}
	var files []*os.File // the command's ends, closed once it has them
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	var err error
	if tty != nil {
		files, err = p.openTerminal(*tty, j.user, s)
		attr.Setctty = true
	} else {
		files, err = p.openPipes(s)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.group = o.newGroup(attr)
	p.proc, err = os.StartProcess(j.path, j.argv, &os.ProcAttr{Dir: j.dir, Env: j.env, Files: files, Sys: attr})
	if err != nil {
		p.close()
		return nil, err
	}
	expose(p.proc.Pid)
	p.group.lead(p.proc.Pid)
	p.pump(s)
	return p, nil
}

// credential is nil for the agent's own user, who could not set it.
func (j *job) credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: uint32(j.user.uid), Gid: uint32(j.user.gid), Groups: j.user.groups}
}

// openPipes makes the command's three ends, and ours.
func (p *process) openPipes(s Streams) (theirs []*os.File, err error) {
	if s.Stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, null)
	} else {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs, p.stdin = append(theirs, r), w
	}
	for _, to := range []io.Writer{s.Stdout, s.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, err
		}
		theirs = append(theirs, w)
		p.taps = append(p.taps, &tap{r: r, w: to, done: make(chan struct{})})
	}
	return theirs, nil
}

// pump starts moving bytes. It must be called once the command runs.
func (p *process) pump(s Streams) {
	for _, t := range p.taps {
		go t.run()
	}
	if p.stdin != nil && s.Stdin != nil {
		go func() {
			io.Copy(p.stdin, s.Stdin)
			if p.tty != nil {
				p.stdin.Write([]byte{4}) // ^D: a terminal has no other end of input
				return
			}
			p.stdin.Close()
		}()
	}
	if p.tty != nil && s.Sizes != nil {
		go p.follow(s.Sizes)
	}
}

// wait waits for the command, kills it all when ctx ends, and then lets what it
// printed arrive.
func (p *process) wait(ctx context.Context) (*os.ProcessState, error) {
	type ended struct {
		state *os.ProcessState
		err   error
	}
	end := make(chan ended, 1)
	go func() {
		state, err := p.proc.Wait()
		end <- ended{state, err}
	}()
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	for {
		select {
		case e := <-end:
			if ctx.Err() != nil { // its time was over before, but a busy guest was late to see it
				p.killed = true
				p.group.kill()
			}
			if e.err == nil {
				p.settle()
			}
			return e.state, e.err
		case <-sample.C:
			p.group.sample()
		case <-ctx.Done():
			p.killed = true
			p.group.kill()
			ctx = context.Background()
		}
	}
}

// settle waits until nothing of the command is left and its output has ended,
// or until the grace is over; then it takes what lies in the pipes.
func (p *process) settle() {
	begin := time.Now()
	p.awaitOutput(orphanGrace / 4)
	for nap := time.Millisecond; !p.quiet(); nap = min(2*nap, orphanGrace/4) {
		grace := orphanGrace
		if anyBusy(p.group.pids()) {
			grace = busyGrace
		}
		if time.Since(begin) >= grace {
			break
		}
		time.Sleep(nap)
	}
	for _, t := range p.taps {
		t.finish()
	}
}

// awaitOutput waits until all output has ended, which it mostly does at once: to
// be woken by it is quicker than to look again.
func (p *process) awaitOutput(limit time.Duration) {
	late := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(late) })
	defer timer.Stop()
	for _, t := range p.taps {
		select {
		case <-t.done:
		case <-late:
		}
	}
}

// quiet reports whether all output has ended and nobody is left.
func (p *process) quiet() bool {
	for _, t := range p.taps {
		if !isClosed(t.done) {
			return false
		}
	}
	return len(p.group.pids()) == 0
}

// exit says how the command ended and what it used.
func (p *process) exit(state *os.ProcessState) Exit {
	e := Exit{Code: state.ExitCode()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = unix.SignalName(ws.Signal())
	}
	e.CPU, e.PeakMemory = p.group.usage()
	if e.CPU == 0 {
		e.CPU = state.UserTime() + state.SystemTime()
	}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok && e.PeakMemory == 0 {
		e.PeakMemory = beyondOurs(ru.Maxrss)
	}
	e.Orphans = processes(p.group.pids())
	return e
}

// beyondOurs returns a child's peak in bytes, or 0 if it may be the agent's own:
// a child shares the agent's memory until it runs its program, and the kernel
// counts that.
func beyondOurs(peakKiB int64) int64 {
	var own syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &own) != nil || peakKiB <= own.Maxrss {
		return 0
	}
	return peakKiB << 10
}

// copyError returns why output could not be handed on, if so.
func (p *process) copyError() error {
	for _, t := range p.taps {
		if t.err != nil && !errors.Is(t.err, errStopped) {
			return fmt.Errorf("output: %w", t.err)
		}
	}
	return nil
}

// close frees what the command had; orphans live on.
func (p *process) close() {
	close(p.over)
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, t := range p.taps {
		t.r.Close()
	}
	if p.tty != nil {
		p.tty.Close()
	}
	if p.group != nil {
		p.group.release()
	}
}

// A tap moves what a command prints to its reader.
type tap struct {
	r    *os.File
	w    io.Writer
	done chan struct{}
	err  error // valid once done is closed
}

func (t *tap) run() {
	_, t.err = io.Copy(t.w, &pacer{r: t.r})
	if errors.Is(t.err, syscall.EIO) {
		t.err = nil // a terminal's way to say that nobody has it open
	}
	close(t.done)
}

// A pacer reads less often from what gives little at a time. A program that
// prints line by line as fast as it can would have the two of them take turns
// for every line; with a pause, what it printed meanwhile is read at once.
type pacer struct {
	r    io.Reader
	last time.Time // end of the last read, if that gave little
}

const (
	pacerPause  = time.Millisecond
	pacerLittle = chunkSize / 4
)

func (p *pacer) Read(b []byte) (int, error) {
	if !p.last.IsZero() && time.Since(p.last) < pacerPause {
		time.Sleep(pacerPause)
	}
	n, err := p.r.Read(b)
	p.last = time.Time{}
	if n > 0 && n < pacerLittle {
		p.last = time.Now()
	}
	return n, err
}

// maxLeft bounds what is taken out of a pipe that an orphan keeps open.
const maxLeft = 1 << 20

// finish ends a tap whose command is over. What lies in the pipe was printed
// before, and is taken; an orphan that prints on is not waited for.
func (t *tap) finish() {
	t.r.SetReadDeadline(time.Now())
	<-t.done
	if !errors.Is(t.err, os.ErrDeadlineExceeded) {
		return
	}
	_, t.err = t.w.Write(t.left())
}

// left reads without waiting.
func (t *tap) left() []byte {
	raw, err := t.r.SyscallConn()
	if err != nil {
		return nil
	}
	buf := make([]byte, 0, smallFile)
	raw.Control(func(fd uintptr) {
		for len(buf) < maxLeft {
			buf = append(buf, make([]byte, smallFile)...)
			n, err := unix.Read(int(fd), buf[len(buf)-smallFile:])
			buf = buf[:len(buf)-smallFile+max(n, 0)]
			if n <= 0 || err != nil {
				return
			}
		}
	})
	return buf
}
