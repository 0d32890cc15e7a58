package cli

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"
)

func TestArrival(t *testing.T) {
	failed := errors.New("it said no")
	times := func(n int) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { n--; return n < 0, nil }
	}
	never := func(context.Context) (bool, error) { return false, nil }
	gone := func(context.Context) (bool, error) { return false, fs.ErrNotExist }
	const soon, late = 100 * time.Millisecond, time.Hour
	for name, tc := range map[string]struct {
		a    Arrival
		done func(context.Context) (bool, error)
		want error
	}{
		"it comes":                {Arrival{Limit: late}, times(2), nil},
		"it comes though it said": {Arrival{Failed: failed, Doubt: late, Limit: soon}, times(2), nil},
		"it never comes":          {Arrival{Limit: soon, Doubt: late}, never, context.DeadlineExceeded},
		"it said so":              {Arrival{Failed: failed, Doubt: soon, Limit: late}, never, failed},
		"it is gone":              {Arrival{Limit: late}, gone, fs.ErrNotExist},
	} {
		if err := tc.a.Wait(t.Context(), tc.done); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Arrival{Failed: failed, Doubt: late}).Wait(ctx, never); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want context.Canceled", err)
	}
}

func TestAgain(t *testing.T) {
	for fails, want := range map[int]error{0: nil, 2: nil, 3: ErrDaemon} {
		calls := 0
		_, err := Again(t.Context(), 3, time.Millisecond, ErrDaemon, func() (Result, error) {
			if calls++; calls <= fails {
				return Result{}, ErrDaemon
			}
			return Result{}, nil
		})
		if !errors.Is(err, want) || calls != min(fails+1, 3) {
			t.Errorf("%d failures: got %v after %d calls, want %v", fails, err, calls, want)
		}
	}
	calls := 0
	_, err := Again(t.Context(), 3, time.Millisecond, ErrDaemon, func() (Result, error) { calls++; return Result{}, ErrState })
	if !errors.Is(err, ErrState) || calls != 1 {
		t.Errorf("another kind: got %v after %d calls, want it at once", err, calls)
	}
}
