package cli

import (
	"context"
	"fmt"
	"net"
)

// errClosed is what a machine that is closed answers.
var errClosed = fmt.Errorf("the machine is closed: %w", net.ErrClosed)

// A Turn is the right to change a machine: one at a time has it, and nobody after
// its end. Its methods are safe for concurrent use.
type Turn struct {
	token chan struct{}
	life  context.Context
	end   context.CancelCauseFunc
	over  bool // with the token: End was called
}

// NewTurn returns the turn of a new machine.
func NewTurn() *Turn {
	t := &Turn{token: make(chan struct{}, 1)}
	t.life, t.end = context.WithCancelCause(context.Background())
	return t
}

// Take waits for the turn. What is done with it uses the context that it returns,
// which ends with ctx and with the machine; give ends the turn.
func (t *Turn) Take(ctx context.Context) (inner context.Context, give func(), err error) {
	if t.life.Err() != nil {
		return nil, nil, context.Cause(t.life)
	}
	select {
	case t.token <- struct{}{}:
	case <-t.life.Done():
		return nil, nil, context.Cause(t.life)
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	inner, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.life, func() { cancel(context.Cause(t.life)) })
	return inner, func() {
		stop()
		cancel(nil)
		<-t.token
	}, nil
}

// End ends what is being done, and waits for the turn, which it takes. first
// says whether there is still something to close.
func (t *Turn) End() (first bool, give func()) {
	t.end(errClosed)
	t.token <- struct{}{}
	first, t.over = !t.over, true
	return first, func() { <-t.token }
}
