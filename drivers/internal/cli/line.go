package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"assay/guest"
)

// Stream starts the tool and returns its standard input and output as a line.
// The line ends with the process; its last read says why, if the tool said so.
// Closing it, or the death of this process, ends the tool; the end of ctx does
// not.
func (t *Tool) Stream(ctx context.Context, args ...string) (net.Conn, error) {
	path, err := t.Path()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	cmd := t.command(life, path, args)
	said := &Tail{limit: maxSaid}
	cmd.Stderr = said
	in, err1 := cmd.StdinPipe()
	r, w, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		end()
		return nil, err
	}
	cmd.Stdout = w
	s := &stream{end: end, gone: make(chan struct{}), out: r}
	started := make(chan error)
	go func() {
		// The kernel ends a child with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = cmd.Wait()
		s.err = t.judge(args, Result{Stderr: said.Bytes(), Exit: cmd.ProcessState.ExitCode()}, err)
		close(s.gone)
	}()
	err = <-started
	w.Close()
	if err != nil {
		end()
		r.Close()
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return guest.Stdio(s, in), nil
}

// A stream is the reading end of a line that a child is.
type stream struct {
	out  *os.File
	end  context.CancelFunc
	gone chan struct{} // the child was waited for
	err  error         // why it ended; set before gone closes
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.out.Read(p)
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	<-s.gone
	if s.err != nil {
		return 0, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, s.err)
	}
	return 0, io.EOF
}

// Close ends the child and waits for it.
func (s *stream) Close() error {
	s.end()
	<-s.gone
	return s.out.Close()
}

// SetReadDeadline implements the part of net.Conn that a pipe can.
func (s *stream) SetReadDeadline(t time.Time) error { return s.out.SetReadDeadline(t) }

// A Line keeps the promise that a machine has one line at a time.
type Line struct {
	mu     sync.Mutex
	conn   net.Conn
	closed bool
}

// Take cuts the line that there was, and makes conn the one that there is. After
// Close it closes conn, and says net.ErrClosed.
func (l *Line) Take(conn net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return nil, fmt.Errorf("the machine is closed: %w", net.ErrClosed)
	}
	l.cut()
	l.conn = conn
	return conn, nil
}

// Cut ends the line that there is.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut()
}

func (l *Line) cut() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// Close ends the line for ever.
func (l *Line) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut()
	l.closed = true
}

// Closed reports whether Close was called.
func (l *Line) Closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// A Tail keeps the end of what is written to it. It is safe for concurrent use.
type Tail struct {
	limit int
	mu    sync.Mutex
	buf   []byte
}

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// Bytes returns a copy of what is kept.
func (t *Tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]byte(nil), t.buf...)
}
