package engine

import (
	"context"
	"time"

	"assay"
	"assay/vm"
)

// reserve waits until the host has room for a machine. That is not the cell's
// own time: its clock stands still meanwhile.
func (s *Session) reserve(ctx context.Context, spec vm.Spec, template string) error {
	s.Phase("waiting for processors and memory")
	if template != "" {
		s.Phase("waiting for processors and memory, or for a template that another test makes")
	}
	began := time.Now()
	s.mu.Lock()
	s.queueing = began
	s.mu.Unlock()
	err := s.host.reserve(ctx, claim{CPUs: spec.CPUs, Memory: spec.Memory, Template: template})
	waited := time.Since(began)
	s.mu.Lock()
	s.queued, s.queueing = s.queued+waited, time.Time{}
	s.mu.Unlock()
	if waited > queueWorth {
		s.AddMetric(assay.QueueSeconds, round(waited.Seconds()), "seconds")
	}
	return err
}

// missing names the template that a launch of spec will have to make; "" if it
// makes none.
func missing(ctx context.Context, d vm.Driver, spec vm.Spec) string {
	t, ok := d.(vm.Templater)
	if !ok {
		return ""
	}
	name, ready := t.Template(ctx, spec)
	if ready {
		return ""
	}
	return name
}

// queueWorth is how long a wait for room must be to be recorded.
const queueWorth = 50 * time.Millisecond

// clock returns the cell's clock, which runs neither while the cell waits for
// room nor while the host is too busy to run its machines.
func (s *Session) clock() *Clock {
	return &Clock{limit: s.job.Timeout, began: s.began, busy: s.starved, idle: s.waitedForRoom}
}

func (s *Session) waitedForRoom() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queueing.IsZero() {
		return s.queued
	}
	return s.queued + time.Since(s.queueing)
}

// starved returns for how long the host kept the cell's most neglected machine
// from running.
func (s *Session) starved() (longest time.Duration) {
	s.mu.Lock()
	machines := append([]*machine(nil), s.machines...)
	s.mu.Unlock()
	for _, m := range machines {
		if m.waited != nil {
			longest = max(longest, m.waited())
		}
	}
	return longest
}
