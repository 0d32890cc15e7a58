package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Client is the host's end of the line. Its methods are safe for concurrent
// use; what they return was said by the guest, which may lie, within bounds. An
// error of the call itself is an *Error; a dead line is a *LineError.
type Client struct {
	line  *line
	conn  net.Conn
	slots chan struct{} // one for each call that the agent still works on

	told atomic.Pointer[Info] // by a renewal

	mu    sync.Mutex
	calls map[uint32]*outgoingCall
	last  uint32
}

// Connect makes a client of the agent at the other end of conn, which may still
// be starting, or frozen in the middle of a frame of a connection long gone:
// Connect says hello until it is answered or ctx ends. It takes conn over, and
// closes it when it fails. An agent of another protocol is a *VersionError.
func Connect(ctx context.Context, conn net.Conn) (*Client, error) {
	hello := newGreeting()
	l := newLine(conn)
	welcome, err := greet(ctx, conn, l.r, hello)
	if err == nil && welcome.version != Protocol {
		err = &VersionError{Agent: welcome.version, Host: Protocol}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &Client{line: l, conn: conn, slots: make(chan struct{}, maxCalls), calls: map[uint32]*outgoingCall{}}
	go l.writeFrames()
	go c.readFrames()
	go func() {
		<-l.done
		conn.Close()
	}()
	return c, nil
}

// greet says hello until the welcome comes. Nothing is left half said.
func greet(ctx context.Context, conn net.Conn, r *bufio.Reader, hello greeting) (greeting, error) {
	answered, said := make(chan struct{}), make(chan error, 1)
	interrupt := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	say := sayHello
	if IsSlow(conn) {
		say = sayHelloSlowly
	}
	go func() { said <- say(conn, hello.encode(helloMagic), answered) }()
	welcome, err := seek(r, welcomeMagic, func(g greeting) bool { return g.nonce == hello.nonce })
	close(answered)
	if err != nil {
		conn.SetDeadline(time.Unix(1, 0))
	}
	sayErr := <-said
	switch {
	case !interrupt():
		return welcome, fmt.Errorf("no answer from the agent: %w", context.Cause(ctx))
	case err != nil:
		return welcome, &LineError{err}
	case sayErr != nil:
		return welcome, &LineError{sayErr}
	}
	return welcome, nil
}

// sayHello repeats the hello until answered closes. The first goes out bare: an
// idle agent answers it in a fraction of a millisecond. An agent that waits for
// the rest of a frame swallows it; zeros, which mean nothing between frames,
// fill the longest frame there is, and the hello behind them is heard.
func sayHello(conn net.Conn, hello []byte, answered <-chan struct{}) error {
	padded := append(make([]byte, headerSize+maxPayload), hello...)
	wait := 20 * time.Millisecond
	for try := 0; ; try++ {
		say := hello
		if try%8 == 1 {
			say = padded
		}
		if _, err := conn.Write(say); err != nil {
			return err
		}
		select {
		case <-answered:
			return nil
		case <-time.After(wait):
			wait = min(2*wait, 250*time.Millisecond)
		}
	}
}

// helloPause is longer than the silence that lets a slow agent listen up.
const helloPause = time.Second

// sayHelloSlowly repeats the hello, bare, until answered closes.
func sayHelloSlowly(conn net.Conn, hello []byte, answered <-chan struct{}) error {
	for {
		if _, err := conn.Write(hello); err != nil {
			return err
		}
		select {
		case <-answered:
			return nil
		case <-time.After(helloPause):
		}
	}
}

// Close ends the line and every call on it.
func (c *Client) Close() error {
	c.line.kill(net.ErrClosed)
	return nil
}

// Done closes when the line is dead.
func (c *Client) Done() <-chan struct{} { return c.line.done }

// Err says why the line is dead, as a *LineError; nil while it lives.
func (c *Client) Err() error {
	if !isClosed(c.line.done) {
		return nil
	}
	return &LineError{c.line.err}
}

// readFrames hands what arrives to the calls until the line ends. It never
// waits for one of them.
func (c *Client) readFrames() {
	for {
		h, err := nextHeader(c.line.r)
		if garbage := (*garbageError)(nil); errors.As(err, &garbage) {
			if c.strayWelcome() {
				continue
			}
			if c.startedAgain() {
				err = ErrStarted
			}
		}
		var buf []byte
		if err == nil {
			buf, err = nextPayload(c.line.r, h)
		}
		if err == nil {
			err = c.take(h, buf)
		}
		if err != nil {
			c.line.kill(err)
			return
		}
	}
}

// take acts on one frame. Frames of calls that are over are dropped.
func (c *Client) take(h header, buf []byte) error {
	c.mu.Lock()
	call := c.calls[h.call]
	if h.kind == frameResult {
		delete(c.calls, h.call)
	}
	c.mu.Unlock()
	if call == nil {
		recycle(buf)
		return nil
	}
	switch h.kind {
	case frameData, frameError:
		if !call.in.put(chunk{h.kind, buf}) {
			return &garbageError{fmt.Errorf("call %d: got more data than its window", h.call)}
		}
	case frameCredit:
		call.out.credit.grant(buf[headerSize:])
	case frameResult:
		call.in.put(chunk{h.kind, buf})
		<-c.slots
	default:
		return &garbageError{fmt.Errorf("call %d: got a frame of kind %d, which only the host sends", h.call, h.kind)}
	}
	return nil
}
