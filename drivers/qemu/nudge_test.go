//go:build linux

package qemu

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"assay/vm"
)

// TestWatch proves that only a guest which owes an answer is nudged, ever more
// seldom.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var nudges atomic.Int32
		w := &watch{nudge: func() { nudges.Add(1) }}
		after := func(d time.Duration, want int32) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := nudges.Load(); got != want {
				t.Errorf("got %d nudges, want %d", got, want)
			}
		}
		after(time.Hour, 0)
		w.asked()
		after(nudgeAfter-time.Second, 0)
		w.answered()
		after(time.Hour, 0)
		w.asked()
		after(nudgeAfter-time.Second, 0)
		w.asked() // the first question counts
		after(2*time.Second, 1)
		after(2*nudgeAfter, 2)
		after(2*nudgeAfter, 2)
		after(2*nudgeAfter, 3)
		w.answered()
		after(time.Hour, 3)
	})
}

// TestSilentGuestIsNudged proves that a guest which stands still although nobody
// asked it to goes on, and that nudges cost a busy guest nothing that it says.
func TestSilentGuestIsNudged(t *testing.T) {
	s := launch(t, "silent", func(spec *vm.Spec) { spec.CPUs = 2 })
	s.must(s.command(t.Context(), "stop", nil))
	s.want("echo awake", "awake")

	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 30 {
			s.nudge(s.proc)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	s.want("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done | sha256sum", "60ca767d880385d16bd409800190b12f8eb69cff0a3117a3fa106ed751d2b386  -")
	<-over
}
