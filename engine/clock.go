package engine

import (
	"context"
	"sync"
	"time"

	"assay/vm"
)

// Patience is how many times its limit a Clock may run: a host that is busy for
// ever must not make a time-out one that never comes.
const Patience = 4

// A Clock measures a machine's own time: what passes while the host is too busy
// to run the machine does not count. It is safe for concurrent use.
type Clock struct {
	limit time.Duration
	began time.Time
	busy  func() time.Duration // of the host, since began
	idle  func() time.Duration // since began, that does not count at all; may be nil
}

// NewClock starts a clock for m that is over after limit.
func NewClock(m vm.Machine, limit time.Duration) *Clock {
	return &Clock{limit: limit, began: time.Now(), busy: waiting(m)}
}

// Plus returns a clock that began with c and is over later by d.
func (c *Clock) Plus(d time.Duration) *Clock {
	return &Clock{c.limit + d, c.began, c.busy, c.idle}
}

// passed returns the time since the clock began that counts.
func (c *Clock) passed() time.Duration {
	if c.idle == nil {
		return time.Since(c.began)
	}
	return time.Since(c.began) - c.idle()
}

// waiting measures for how long the host keeps m from running.
func waiting(m vm.Machine) func() time.Duration {
	w, err := vm.As[vm.Waiter](m)
	if err != nil {
		return func() time.Duration { return 0 }
	}
	return w.Waiting()
}

// Busy returns how long the host was too busy to run the machine, and never
// more than has passed.
func (c *Clock) Busy() time.Duration { return min(max(c.busy(), 0), c.passed()) }

// Told says in words how much of the time the host was too busy; "" when that is
// not worth mentioning.
func (c *Clock) Told() string {
	busy := c.Busy()
	if busy < c.passed()/10 {
		return ""
	}
	return " (for " + busy.Round(10*time.Millisecond).String() + " of it the host was too busy to run the machine)"
}

// left returns how long the clock goes on at least.
func (c *Clock) left() time.Duration {
	passed := c.passed()
	return remaining(c.limit, passed, min(c.Busy(), passed))
}

// remaining is the arithmetic of left.
func remaining(limit, passed, busy time.Duration) time.Duration {
	return min(limit-passed+busy, Patience*limit-passed)
}

// shortest bounds how often a clock looks again.
const shortest = 10 * time.Millisecond

// After returns a channel that closes when the clock is over. stop lets go of it.
func (c *Clock) After() (over <-chan struct{}, stop func()) {
	closed, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		timer := time.NewTimer(max(c.left(), 0))
		defer timer.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-timer.C:
			}
			left := c.left()
			if left <= 0 {
				close(closed)
				return
			}
			timer.Reset(max(left, shortest))
		}
	}()
	return closed, sync.OnceFunc(func() { close(stopped) })
}

// Context returns a context that ends when the clock is over, with cause's error.
func (c *Clock) Context(ctx context.Context, cause func() error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	over, stop := c.After()
	go func() {
		select {
		case <-over:
			cancel(cause())
		case <-ctx.Done():
		}
		stop()
	}()
	return ctx, func() { cancel(nil) }
}
