package cli

import (
	"context"
	"errors"
	"time"
)

// An Arrival is a state that a command was to bring about, in a hypervisor whose
// word on that cannot be trusted: only what it shows afterwards can.
type Arrival struct {
	What   string        // "the state \"running\" of x", for errors
	Failed error         // what the command said, if it said that it failed: …
	Doubt  time.Duration // … it may have worked all the same, within that time
	Limit  time.Duration // else
}

// Wait asks until done reports true. An error of done ends it at once. When the
// time is up the error is Failed, or says what was waited for.
func (a Arrival) Wait(ctx context.Context, done func(context.Context) (bool, error)) error {
	limit := a.Limit
	if a.Failed != nil {
		limit = a.Doubt
	}
	inner, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := Until(inner, a.What, func(ctx context.Context) (bool, error, error) {
		ok, err := done(ctx)
		if err != nil && ctx.Err() != nil {
			err = nil // the end of the waiting is no answer
		}
		return ok, a.Failed, err
	})
	if err != nil && a.Failed != nil && ctx.Err() == nil {
		return a.Failed
	}
	return err
}

// Again makes a call, and makes it again after a pause while it fails with a kind
// of error that passes, at most so many times.
func Again(ctx context.Context, times int, pause time.Duration, passes error, call func() (Result, error)) (Result, error) {
	for try := 1; ; try++ {
		r, err := call()
		if !errors.Is(err, passes) || try >= times {
			return r, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r, err
		}
	}
}
