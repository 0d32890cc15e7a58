//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Files of a running QEMU in its folder.
const (
	logName     = "qemu.log"    // what QEMU itself says
	consoleName = "console.log" // what the guest's console says
)

// Descriptors that QEMU inherits. exec.Cmd numbers its ExtraFiles from 3.
const (
	monitorFD = 3
	agentFD   = 4
	stateFD   = 5
)

// A process is one running QEMU. It dies with this process, whatever kills it.
type process struct {
	dir     string
	cmd     *exec.Cmd
	monitor *monitor
	done    chan struct{} // closed when QEMU is gone

	mu    sync.Mutex
	cause error // why we killed it, if we did for a reason
	exit  error // how it ended
}

// files are the open files that a QEMU starts with. start closes them.
type files struct {
	agent *os.File // listening socket of the agent's port
	state *os.File // saved state to come up from; nil to boot
}

func (f files) close() {
	f.agent.Close()
	if f.state != nil {
		f.state.Close()
	}
}

// start runs QEMU in dir and returns when its monitor answers. Events go to
// listen from one goroutine.
func start(ctx context.Context, binary string, args []string, dir string, f files, listen func(*process, event)) (*process, error) {
	defer f.close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	log, err := os.OpenFile(filepath.Join(dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer log.Close()
	p := &process{dir: dir, done: make(chan struct{})}
	p.cmd = command(binary, args, dir, log)
	p.cmd.ExtraFiles = []*os.File{theirs, f.agent}
	if f.state != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f.state)
	}
	if err := p.run(); err != nil {
		ours.Close()
		return nil, err
	}
	theirs.Close() // so that the monitor ends when QEMU does
	p.monitor, err = openMonitor(ctx, ours, func(e event) { listen(p, e) })
	if err != nil {
		if ctx.Err() == nil {
			err = p.explain(ctx, err)
		}
		p.kill(nil)
		return nil, err
	}
	return p, nil
}

// command prepares QEMU: in its own session, so that Ctrl-C is ours to
// handle, and in the C locale.
func command(binary string, args []string, dir string, log *os.File) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	return cmd
}

// run starts the command and waits for it on a thread of its own: the kernel
// sends the parent's death signal when the thread that forked ends, not when
// the process does, so that thread must live as long as QEMU.
func (p *process) run() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = p.cmd.Wait()
		p.mu.Lock()
		p.exit = err
		p.mu.Unlock()
		close(p.done)
	}()
	return <-started
}

// kill ends QEMU at once and waits until it is gone. A non-nil cause is what
// the line and later operations say.
func (p *process) kill(cause error) {
	p.blame(cause)
	p.cmd.Process.Kill()
	<-p.done
	if p.monitor != nil {
		p.monitor.close()
	}
}

// blame notes the first reason for which QEMU is being ended.
func (p *process) blame(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = cause
	}
}

// quit asks QEMU to end in order, with everything written, and kills it when
// ctx ends first.
func (p *process) quit(ctx context.Context) error {
	err := p.monitor.call(ctx, "quit", nil, nil)
	if errors.Is(err, errMonitorClosed) {
		err = nil
	}
	select {
	case <-p.done:
		p.monitor.close()
		return err
	case <-ctx.Done():
		p.kill(nil)
		return fmt.Errorf("quit: %w", context.Cause(ctx))
	}
}

// gone reports whether QEMU has ended.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// explain returns err, or why QEMU ended if it has ended or is about to.
func (p *process) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil && !p.gone() {
		return err
	}
	if errors.Is(err, errMonitorClosed) || errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		select { // the exit follows the end of its sockets at once
		case <-p.done:
		case <-time.After(2 * time.Second):
		}
	}
	if p.gone() {
		return p.death()
	}
	return err
}

// death says how QEMU ended, with the end of what it wrote.
func (p *process) death() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != nil {
		return p.cause
	}
	how := "exit status 0"
	if p.exit != nil {
		how = p.exit.Error()
	}
	if said := logTail(filepath.Join(p.dir, logName)); said != "" {
		how += ": " + said
	}
	return fmt.Errorf("qemu ended unexpectedly: %s", how)
}

// logTail returns the last lines of QEMU's own log as one line.
func logTail(path string) string {
	tail, err := readTail(path, 4<<10)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(bytes.ToValidUTF8(tail, []byte("?")))), " ")
}

// readTail returns at most the last limit bytes of a file.
func readTail(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if from := info.Size() - limit; from > 0 {
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// socketPair returns two connected unix sockets, ours as a connection.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "monitor")
	mine := os.NewFile(uintptr(fds[0]), "monitor")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}
