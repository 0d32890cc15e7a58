package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxCalls bounds the calls that are under way on one line.
const maxCalls = 256

// A Server is the agent's end of the line.
type Server struct {
	System   System             // what the calls act on
	Handlers map[string]Handler // methods of other rooms, by name
}

// Serve answers one line until it ends or ctx does, and closes it. The host may
// begin anew at any moment, even in the middle of a frame: a hello ends every
// call of the connection before. An end of the stream is no error.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	inner, cancel := context.WithCancel(ctx)
	closed := make(chan struct{})
	go func() {
		<-inner.Done()
		conn.Close()
		close(closed)
	}()
	l := newLine(conn)
	written := make(chan struct{})
	go func() {
		l.writeFrames()
		cancel()
		close(written)
	}()
	var calls sync.WaitGroup
	l.kill(s.serveLine(inner, l, &calls))
	cancel()
	<-closed
	waitWritten(written)
	waitFor(&calls, killGrace)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(l.err, io.EOF) || errors.Is(l.err, io.ErrUnexpectedEOF):
		return nil
	}
	return &LineError{l.err}
}

// waitWritten waits for a writer whose stream is closed: a word of its that came
// later would be said to the next host. One that nothing interrupts is left.
func waitWritten(written <-chan struct{}) {
	select {
	case <-written:
	case <-time.After(killGrace):
	}
}

// serveLine serves one connection after another until the stream ends.
func (s *Server) serveLine(ctx context.Context, l *line, calls *sync.WaitGroup) error {
	for {
		hello, err := seek(l.r, helloMagic, func(greeting) bool { return true })
		if err != nil {
			return err
		}
		sess := &session{server: s, line: l, running: calls, calls: map[uint32]*incoming{}}
		sess.ctx, sess.cancel = context.WithCancel(ctx)
		hello.version = Protocol
		err = l.post(outgoing{buf: hello.encode(welcomeMagic)}, ctx.Done())
		if err == nil {
			err = sess.serve(l.r)
		}
		sess.cancel()
		if garbage := (*garbageError)(nil); !errors.As(err, &garbage) {
			return err
		}
	}
}

// A session is what lies between two hellos.
type session struct {
	server  *Server
	line    *line
	running *sync.WaitGroup // of every session of the line
	ctx     context.Context
	cancel  context.CancelFunc

	mu    sync.Mutex
	calls map[uint32]*incoming
}

// incoming is one call, at the agent.
type incoming struct {
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc
	opening
	in    *inbox
	out   *outlet
	sizes chan Size

	expired chan struct{} // see Streams.Expired
	expire  func()        // closes it, once
}

// killGrace is how long the end of a line waits for the calls that it cancelled.
const killGrace = 5 * time.Second

// waitFor waits for wg, but not for ever.
func waitFor(wg *sync.WaitGroup, limit time.Duration) {
	over := make(chan struct{})
	go func() {
		wg.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(limit):
	}
}

// serve takes frames until one is garbage, as the next hello is.
func (s *session) serve(r *bufio.Reader) error {
	for {
		h, err := nextHeader(r)
		if err != nil {
			return err
		}
		buf, err := nextPayload(r, h)
		if err != nil {
			return err
		}
		if err := s.take(h, buf); err != nil {
			return &garbageError{err}
		}
	}
}

// take acts on one frame. Frames of calls that are over are dropped.
func (s *session) take(h header, buf []byte) error {
	if h.kind == frameOpen {
		return s.open(h.call, buf[headerSize:])
	}
	s.mu.Lock()
	c := s.calls[h.call]
	s.mu.Unlock()
	if c == nil {
		recycle(buf)
		return nil
	}
	switch payload := buf[headerSize:]; h.kind {
	case frameData:
		if !c.in.put(chunk{h.kind, buf}) {
			return fmt.Errorf("call %d: got more data than its window", h.call)
		}
	case frameEnd:
		c.in.end()
	case frameCredit:
		c.out.credit.grant(payload)
	case frameCancel:
		c.cancel()
	case frameSize:
		return c.resize(payload)
	case frameExpire:
		c.expire()
	default:
		return fmt.Errorf("call %d: got a frame of kind %d, which only the agent sends", h.call, h.kind)
	}
	return nil
}

// resize keeps only the newest size.
func (c *incoming) resize(payload []byte) error {
	var size Size
	if err := decode(payload, &size); err != nil {
		return err
	}
	select {
	case <-c.sizes:
	default:
	}
	c.sizes <- size
	return nil
}

// open starts a call.
func (s *session) open(id uint32, payload []byte) error {
	c := &incoming{id: id, sizes: make(chan Size, 1), expired: make(chan struct{})}
	c.expire = sync.OnceFunc(func() { close(c.expired) })
	if err := decode(payload, &c.opening); err != nil {
		return err
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	l := lane{s.line, id, c.ctx.Done(), s.ctx.Done()}
	c.in, c.out = newInbox(l), &outlet{l, newCredit()}
	if !c.Input {
		c.in.end()
	}
	s.mu.Lock()
	n, taken := len(s.calls), s.calls[id] != nil
	if n < maxCalls && !taken {
		s.calls[id] = c
	}
	s.mu.Unlock()
	switch {
	case taken:
		c.cancel()
		return fmt.Errorf("call %d: got it opened twice", id)
	case n >= maxCalls:
		c.cancel()
		return fmt.Errorf("got call %d, want at most %d at once", id, maxCalls)
	}
	s.running.Go(func() { s.run(c) })
	return nil
}

// run serves a call to its end.
func (s *session) run(c *incoming) {
	b := s.outcome(c)
	s.mu.Lock()
	delete(s.calls, c.id)
	s.mu.Unlock()
	c.cancel() // ends what still reads or writes for the call
	s.line.post(outgoing{frame(frameResult, c.id, b), s.ctx.Done()}, s.ctx.Done())
}
