package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A request is one call to be made.
type request struct {
	method string
	args   any
	feed   func(w io.Writer) error // writes the input; nil: there is none
	out    io.Writer               // nil: discard
	err    io.Writer               // nil: discard
	sizes  <-chan Size             // may be nil
	expire <-chan struct{}         // see Command.Expire
	result any                     // where the result's JSON goes; nil: nowhere
}

// outgoingCall is one call, at the host.
type outgoingCall struct {
	in  *inbox
	out *outlet
}

// cancelGrace is how long a cancelled call waits for the agent to say that it
// is over. After it, the line may still work, and the call's slot stays taken.
const cancelGrace = 5 * time.Second

// An inputError is an error of the caller's own input.
type inputError struct{ error }

func (e *inputError) Error() string { return "input: " + e.error.Error() }
func (e *inputError) Unwrap() error { return e.error }

// errWriter marks an error of the caller's own writer.
type errWriter struct{ error }

// Call calls a method of another room: one of Server.Handlers. args is sent as
// JSON of at most 128 KiB; what is larger goes by in, which may be nil. out gets
// what the handler writes, and may be nil. result, if not nil, gets its result.
// When ctx ends the call is cancelled in the guest and ctx's error returned.
func (c *Client) Call(ctx context.Context, method string, args any, in io.Reader, out io.Writer, result any) error {
	return c.call(ctx, request{method: method, args: args, feed: feedFrom(in), out: out, result: result})
}

// Ping asks the agent for an empty answer.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, request{method: methodPing})
}

// feedFrom copies r as a call's input.
func feedFrom(r io.Reader) func(io.Writer) error {
	if r == nil {
		return nil
	}
	return func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	}
}

// call makes one call and waits for its end.
func (c *Client) call(ctx context.Context, r request) error {
	open, err := encodeOpening(r)
	if err != nil {
		return err
	}
	if err := c.acquire(ctx); err != nil {
		return err
	}
	ended, end := context.WithCancel(context.Background())
	defer end()
	id, call := c.register(ended.Done())
	if err := c.line.post(outgoing{buf: seal(open, frameOpen, id)}, ctx.Done()); err != nil {
		c.forget(id)
		return cmp.Or(context.Cause(ctx), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.feed != nil {
		go call.feed(r.feed, cancel)
	}
	if r.sizes != nil {
		go call.resize(r.sizes)
	}
	if r.expire != nil {
		go call.expire(r.expire)
	}
	return call.follow(ctx, r)
}

// encodeOpening returns the frame that opens r, to be sealed.
func encodeOpening(r request) ([]byte, error) {
	args, err := json.Marshal(r.args)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(opening{Method: r.method, Args: args, Input: r.feed != nil})
	if err != nil {
		return nil, err
	}
	if len(b) > maxPayload {
		return nil, fmt.Errorf("%s: got arguments of %d bytes, want at most %d: %w", r.method, len(b), maxPayload, ErrLimit)
	}
	return frame(frameNothing, 0, b), nil
}

// acquire waits for a free slot.
func (c *Client) acquire(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	select {
	case <-c.line.done:
		return c.Err()
	default:
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.line.done:
		return c.Err()
	}
}

func (c *Client) register(ended <-chan struct{}) (uint32, *outgoingCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.last++; c.last == 0 || c.calls[c.last] != nil; c.last++ {
	}
	l := lane{line: c.line, call: c.last, stop: ended}
	call := &outgoingCall{in: newInbox(l), out: &outlet{l, newCredit()}}
	c.calls[c.last] = call
	return c.last, call
}

// forget takes back a call that the agent never heard of.
func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[id] != nil {
		delete(c.calls, id)
		<-c.slots
	}
}

// feed sends the input. An input that cannot be had ends the call.
func (o *outgoingCall) feed(feed func(io.Writer) error, cancel context.CancelCauseFunc) {
	err := feed(streamWriter{o.out, frameData})
	line := (*LineError)(nil)
	switch {
	case errors.Is(err, errStopped) || errors.As(err, &line):
	case err != nil:
		cancel(&inputError{err})
	default:
		o.out.post(frame(frameEnd, o.out.call, nil))
	}
}

// resize sends a terminal's sizes until there are no more or the call is over.
func (o *outgoingCall) resize(sizes <-chan Size) {
	for {
		select {
		case size, ok := <-sizes:
			b, err := json.Marshal(size)
			if !ok || err != nil || o.out.post(frame(frameSize, o.out.call, b)) != nil {
				return
			}
		case <-o.out.stop:
			return
		case <-o.out.line.done:
			return
		}
	}
}

// expire tells the agent when the command's time is up.
func (o *outgoingCall) expire(up <-chan struct{}) {
	select {
	case <-up:
		o.out.post(frame(frameExpire, o.out.call, nil))
	case <-o.out.stop:
	case <-o.out.line.done:
	}
}

// follow hands output to its writers until the result comes or ctx ends.
func (o *outgoingCall) follow(ctx context.Context, r request) error {
	writers := map[byte]io.Writer{frameData: orDiscard(r.out), frameError: orDiscard(r.err)}
	b, err := o.drain(ctx.Done(), writers)
	if err == nil {
		return finish(r, b)
	}
	if line := (*LineError)(nil); errors.As(err, &line) {
		return err
	}
	if errors.Is(err, errStopped) {
		err = context.Cause(ctx)
	}
	o.cancel()
	if w := (errWriter{}); errors.As(err, &w) {
		return w.error
	}
	return err
}

// drain takes chunks up to the result.
func (o *outgoingCall) drain(stop <-chan struct{}, writers map[byte]io.Writer) (result []byte, err error) {
	for {
		ch, err := o.in.next(stop)
		if err != nil {
			return nil, err
		}
		if ch.kind == frameResult {
			return ch.payload(), nil
		}
		_, err = writers[ch.kind].Write(ch.payload())
		o.in.release(ch)
		if err != nil {
			return nil, errWriter{err}
		}
		if isClosed(stop) {
			return nil, errStopped
		}
	}
}

// cancel ends the call in the guest and waits, with patience, until it has.
func (o *outgoingCall) cancel() {
	stop := make(chan struct{})
	timer := time.AfterFunc(cancelGrace, func() { close(stop) })
	defer timer.Stop()
	if o.out.line.post(outgoing{buf: frame(frameCancel, o.out.call, nil)}, stop) == nil {
		o.drain(stop, map[byte]io.Writer{frameData: io.Discard, frameError: io.Discard})
	}
}

// finish decodes how the call ended.
func finish(r request, b []byte) error {
	var end outcome
	if err := decode(b, &end); err != nil {
		return fmt.Errorf("%s: the agent's answer: %w", r.method, err)
	}
	if end.Error != "" || end.Kind != "" {
		return &Error{Method: r.method, Kind: end.Kind, Message: printable(end.Error, maxMessage)}
	}
	if r.result == nil || len(end.Result) == 0 {
		return nil
	}
	if err := decode(end.Result, r.result); err != nil {
		return fmt.Errorf("%s: the agent's answer: %w", r.method, err)
	}
	return nil
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
