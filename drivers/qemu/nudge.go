//go:build linux

package qemu

import (
	"context"
	"sync"
	"time"
)

// A guest that owes an answer for this long is nudged, and again after twice as
// long, and so on.
const (
	nudgeAfter = 5 * time.Second
	nudgeMax   = 10 * time.Second // for the monitor to answer
)

// A watch notices that the guest is silent although it was spoken to. Rarely an
// emulated guest of several processors stands still, for ever: QEMU's threads
// tell each other of interrupts by flags that a thread which is about to halt
// can miss. A pause of a moment takes every thread out of the guest and in again,
// where it looks at all flags. It costs the guest about a millisecond.
type watch struct {
	nudge func()

	mu    sync.Mutex
	timer *time.Timer // armed while an answer is owed; nil otherwise
	wait  time.Duration
}

// asked notes that the guest was spoken to.
func (w *watch) asked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		w.wait = nudgeAfter
		w.timer = time.AfterFunc(w.wait, w.overdue)
	}
}

// answered notes that the guest spoke, or that nobody listens any more.
func (w *watch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// overdue nudges the guest, and waits longer the next time.
func (w *watch) overdue() {
	w.mu.Lock()
	owed := w.timer
	w.mu.Unlock()
	w.nudge()
	w.mu.Lock()
	defer w.mu.Unlock()
	if owed != nil && w.timer == owed {
		w.wait *= 2
		w.timer = time.AfterFunc(w.wait, w.overdue)
	}
}

// nudge pauses the guest for a moment, unless somebody is at work on the
// machine or wants it to stand still.
func (m *machine) nudge(p *process) {
	select {
	case m.busy <- struct{}{}:
		defer m.unlock()
	default:
		return
	}
	m.mu.Lock()
	idle := m.closed || m.proc != p || m.suspended
	m.mu.Unlock()
	if idle || p.gone() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), nudgeMax)
	defer cancel()
	if p.monitor.call(ctx, "stop", nil, nil) == nil {
		_ = p.monitor.call(ctx, "cont", nil, nil) // a QEMU that does not answer is found dead by others
	}
}
