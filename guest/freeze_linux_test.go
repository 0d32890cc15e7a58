package guest_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"assay/guest"
	"assay/guest/guesttest"
)

// icebox is a system whose disk says how often it was frozen and thawed.
type icebox struct {
	guest.System
	limit        time.Duration
	frozen, thaw atomic.Int32
}

func (b *icebox) Freeze(ctx context.Context, _ string, during func(guest.Stillness) error) error {
	b.frozen.Add(1)
	return guest.Hold(ctx, b.limit, func() error { b.thaw.Add(1); return nil }, func() error {
		return during(guest.Stillness{Frozen: true})
	})
}

func TestFreezeLastsAsLongAsItsCallback(t *testing.T) {
	b := &icebox{limit: time.Minute}
	c, ctx := guesttest.Serve(t, &guest.Server{System: b}), limit(t)
	mine := errors.New("mine")
	err := c.Freeze(ctx, "/", func(s guest.Stillness) error {
		if !s.Frozen || b.frozen.Load() != 1 || b.thaw.Load() != 0 {
			t.Errorf("during it: got %+v, frozen %d times, thawed %d times", s, b.frozen.Load(), b.thaw.Load())
		}
		return mine
	})
	if err != mine || b.thaw.Load() != 1 {
		t.Errorf("after it: got %v, thawed %d times; want the callback's error, and once", err, b.thaw.Load())
	}
}

// A host that takes too long, gives up, or vanishes leaves no guest frozen.
func TestFreezeEndsByItself(t *testing.T) {
	thawed := func(t *testing.T, b *icebox) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); b.thaw.Load() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("still frozen")
			}
		}
	}
	t.Run("slow", func(t *testing.T) {
		b := &icebox{limit: time.Millisecond}
		c := guesttest.Serve(t, &guest.Server{System: b})
		err := c.Freeze(limit(t), "/", func(guest.Stillness) error { thawed(t, b); return nil })
		if !errors.Is(err, guest.ErrThawed) || b.thaw.Load() != 1 {
			t.Errorf("got %v, thawed %d times, want ErrThawed and once", err, b.thaw.Load())
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		b := &icebox{limit: time.Minute}
		c := guesttest.Serve(t, &guest.Server{System: b})
		ctx, cancel := context.WithCancel(limit(t))
		c.Freeze(ctx, "/", func(guest.Stillness) error { cancel(); thawed(t, b); return nil })
	})
	t.Run("gone", func(t *testing.T) {
		b := &icebox{limit: time.Minute}
		c := guesttest.Serve(t, &guest.Server{System: b})
		c.Freeze(limit(t), "/", func(guest.Stillness) error { c.Close(); thawed(t, b); return nil })
	})
}

func TestFreezeOfASystemThatCannot(t *testing.T) {
	none := func(guest.Stillness) error { t.Error("the callback runs"); return nil }
	c := guesttest.Serve(t, &guest.Server{System: liar{}})
	if err := c.Freeze(limit(t), "/", none); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want errors.ErrUnsupported", err)
	}
	c = guesttest.Serve(t, &guest.Server{System: &guest.OS{}})
	if err := c.Freeze(limit(t), "/no-such-folder", none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// /proc cannot be frozen: it is flushed, and the host is told why.
func TestFreezeFallsBackToAFlush(t *testing.T) {
	c := guesttest.Serve(t, &guest.Server{System: &guest.OS{}})
	called := false
	err := c.Freeze(limit(t), "/proc", func(s guest.Stillness) error {
		called = !s.Frozen && s.Why != ""
		return nil
	})
	if err != nil || !called {
		t.Errorf("got %v, told why: %v", err, called)
	}
}
