package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestRemaining proves the arithmetic of a clock: an idle host takes nothing off,
// a busy one gives what it took, and nothing lasts longer than Patience allows.
func TestRemaining(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct{ limit, passed, busy, want time.Duration }{
		{10 * s, 0, 0, 10 * s},
		{10 * s, 4 * s, 0, 6 * s},
		{10 * s, 10 * s, 0, 0},
		{10 * s, 10 * s, 5 * s, 5 * s},
		{10 * s, 20 * s, 20 * s, 10 * s},
		{10 * s, 35 * s, 35 * s, 5 * s},
		{10 * s, 40 * s, 40 * s, 0},
	} {
		if got := remaining(tt.limit, tt.passed, tt.busy); got != tt.want {
			t.Errorf("limit %v, passed %v, busy %v: got %v, want %v", tt.limit, tt.passed, tt.busy, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := time.Duration(rapid.Int64Range(1, 1e12).Draw(t, "limit"))
		passed := time.Duration(rapid.Int64Range(0, 1e13).Draw(t, "passed"))
		busy := time.Duration(rapid.Int64Range(0, int64(passed)).Draw(t, "busy"))
		left := remaining(limit, passed, busy)
		if left > limit || passed >= Patience*limit && left > 0 || passed-busy >= limit && left > 0 || left <= 0 && passed < limit {
			t.Fatalf("limit %v, passed %v, busy %v: got %v", limit, passed, busy, left)
		}
	})
}

// TestClock proves when a clock is over: in time on an idle host, later on a busy
// one, at last on one that is busy for ever, and never while it stands still.
func TestClock(t *testing.T) {
	const limit = 100 * time.Millisecond
	began := time.Now()
	since := func(part time.Duration) func() time.Duration {
		return func() time.Duration { return time.Since(began) * part / 10 }
	}
	for name, tt := range map[string]struct {
		clock Clock
		want  time.Duration // at least
	}{
		"idle":  {Clock{limit: limit, began: began, busy: since(0)}, limit},
		"busy":  {Clock{limit: limit, began: began, busy: since(5)}, 2 * limit},
		"hell":  {Clock{limit: limit, began: began, busy: since(10)}, Patience * limit},
		"still": {Clock{limit: limit, began: began, busy: since(0), idle: since(9)}, 10 * limit},
		"liar":  {Clock{limit: limit, began: began, busy: since(500)}, Patience * limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over, stop := tt.clock.After()
			defer stop()
			select {
			case <-over:
			case <-time.After(time.Minute):
				t.Fatal("it never ends")
			}
			if got := time.Since(began); got < tt.want {
				t.Errorf("over after %v, want at least %v", got, tt.want)
			}
		})
	}
}

// TestClockContext proves the cause, and that letting go ends the watching.
func TestClockContext(t *testing.T) {
	late := errors.New("late")
	c := &Clock{limit: 10 * time.Millisecond, began: time.Now(), busy: func() time.Duration { return 0 }}
	ctx, cancel := c.Context(t.Context(), func() error { return late })
	defer cancel()
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
	}
	if cause := context.Cause(ctx); !errors.Is(cause, late) {
		t.Errorf("got %v, want %v", cause, late)
	}
	if c.Told() != "" {
		t.Errorf("got %q of an idle host, want nothing", c.Told())
	}
}
