package builtins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/capture"
	"assay/engine"
	"assay/vm"
)

type placeboArgs struct {
	Machine *Machine        `star:"machine" help:"machine that does nothing"`
	Time    engine.Duration `star:"time?,pos" help:"for how long; default: 30s"`
}

var placebo = engine.Func("placebo", "Changes",
	"Lets a machine do nothing for a while, and remembers what changed all the same: every later diff of\n"+
		"machines of this image leaves that out. It returns what was not known before.",
	placeboArgs{Time: engine.Duration(30 * time.Second)}, runPlacebo)

func runPlacebo(ctx context.Context, s *engine.Session, a placeboArgs) (starlark.Value, error) {
	m := a.Machine
	s.Describe(fmt.Sprintf("%s for %s", m.name, time.Duration(a.Time)), m.vm.ID())
	before, err := m.look(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, time.Duration(a.Time)); err != nil {
		return nil, err
	}
	after, err := m.look(ctx, s)
	if err != nil {
		return nil, err
	}
	changes, _, err := capture.Diff(before.capture, after.capture, capture.DiffOptions{})
	if err != nil {
		return nil, err
	}
	c := compare(ctx, s, before, after, changes, true)
	c.keep(s, before, after)
	s.AddPlacebo(newPlacebo(m.image.Digest, before.scope, after.began.Sub(before.ended), changes))
	return c, nil
}

// look takes a capture whose records are not kept.
func (m *Machine) look(ctx context.Context, s *engine.Session) (*Capture, error) {
	v, err := m.take(ctx, s, nil)
	if err != nil {
		return nil, fmt.Errorf("placebo: %w", err)
	}
	v.record.Digest = v.digest()
	v.record.ID = s.AddCapture(v.record)
	return v, nil
}

// maxPlacebo bounds the changes that one placebo is remembered for.
const maxPlacebo = 5000

func newPlacebo(image, scope string, d time.Duration, changes []assay.Change) assay.Placebo {
	return assay.Placebo{Image: image, Scope: scope, Seconds: seconds(d), Changes: changes[:min(len(changes), maxPlacebo)]}
}

// seconds is a duration, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// sleep does nothing.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A moment says when a capture was taken, and of what.
type moment struct {
	began, ended time.Time
	scope        string // see assay.Placebo
	twin         *twin  // forked just before; nil: there is none
}

// moment begins a capture.
func (m *Machine) moment(s *engine.Session) moment {
	return moment{began: time.Now(), scope: m.scope(s)}
}

// scope is empty for a machine that is as its image makes it, and names what
// this test's steps made of it otherwise.
func (m *Machine) scope(s *engine.Session) string {
	if m.record.Parent != "" || m.record.Network != string(vm.NetworkNone) {
		return s.Scope()
	}
	for _, step := range s.Steps() {
		if step.Machine == m.vm.ID() && (step.Verb == exec.Name || step.Verb == transfer.Name) {
			return s.Scope()
		}
	}
	return ""
}

// A twin is a fork of a machine under test that does nothing meanwhile. What
// changes in it is not the subject's doing.
type twin struct {
	session *engine.Session
	of      *Machine
	only    []string // collectors

	ready   chan struct{} // closed when the rest is set
	machine *Machine
	before  *Capture
	err     error
}

// When too little is known of an image for a diff to be trusted.
const (
	staleAfter  = 24 * time.Hour // what runs daily runs again
	longEnough  = 0.8            // of the time between the captures, last time
	enough      = 5              // placebos
	placeboCost = 3.0            // seconds, about
	cheap       = 0.05           // of the test's time: then another one is welcome
)

// wantsTwin says whether a capture that is being taken should have a twin: it is
// the machine's first, and the user wants one or too little is known. What is
// known already costs nothing. What the image does says little of a machine in
// which commands were run; files that were put into it do nothing by themselves.
func (m *Machine) wantsTwin(ctx context.Context, s *engine.Session, scope string) bool {
	policy := s.PlaceboPolicy()
	if policy == engine.PlaceboNever || m.captured.Swap(true) {
		return false
	}
	if policy == engine.PlaceboAlways {
		return true
	}
	h := s.Placebos(ctx, m.image.Digest, scope)
	n := 0
	for _, p := range h.Placebos {
		if p.Seconds >= longEnough*h.Seconds && (p.Scope == scope || !m.ran.Load()) {
			n++
		}
	}
	return n == 0 || time.Since(h.Newest) > staleAfter || n < enough && placeboCost < cheap*h.Seconds
}

// twinSnapshot is a name that no script can give.
const twinSnapshot = ownPrefix + "twin"

// startTwin saves the machine as it is now and makes a twin of it, beside the
// script. It returns nil if there will be none. A twin is never in the way: what
// goes wrong with it is told and makes no difference to the test.
func (m *Machine) startTwin(ctx context.Context, s *engine.Session, only []string, scope string) *twin {
	if m.adopted || !m.wantsTwin(ctx, s, scope) {
		return nil // what somebody else made is not copied
	}
	// A snapshot that restarts the guest would be in the test's way.
	for _, ability := range []vm.Capability{vm.CapSnapshot, vm.CapMemory, vm.CapFork} {
		if why, _ := s.Lack(m.vm, m.record.Driver, string(ability)); why != "" { // the word is one
			s.Log(fmt.Sprintf("placebo: %s: it gets no twin: %s; what is noise, earlier placebos tell, and \"assay placebo %s\" makes more", m.name, why, m.image.Name))
			return nil
		}
	}
	saver, err := vm.As[vm.Snapshotter](m.vm)
	if err != nil {
		return nil
	}
	s.Phase("saving the machine for its placebo")
	m.hangUp()
	t := &twin{session: s, of: m, only: only, ready: make(chan struct{})}
	if err := saver.Snapshot(ctx, twinSnapshot); err != nil {
		t.tell(err)
		return nil
	}
	s.Beside(func(ctx context.Context) {
		defer close(t.ready)
		t.err = t.fork(ctx)
	})
	return t
}

// twinTime is how long making a twin may take, and how long looking at it.
const twinTime = 2 * time.Minute

// fork makes the twin and looks at it. Its new identity is no noise: it is there
// before the first look.
func (t *twin) fork(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, twinTime, fmt.Errorf("not ready in %s", twinTime))
	defer cancel()
	own, err := t.session.Twin(ctx, t.of.vm, twinSnapshot)
	if err != nil {
		return err
	}
	t.machine = &Machine{vm: own, session: t.session, name: t.of.name + ".twin", image: t.of.image, host: t.of.host, record: t.of.record, info: t.of.info}
	t.machine.record.ID = own.ID()
	if err := t.machine.renew(ctx, true); err != nil {
		return err
	}
	t.before, err = t.machine.take(ctx, t.session, t.only)
	return err
}

// measure waits until the twin has done nothing for as long as the test took, and
// adds what changed in it to what is known. The twin is gone afterwards.
func (t *twin) measure(ctx context.Context, scope string, d time.Duration) {
	s := t.session
	s.Phase("waiting for the placebo")
	err := t.look(ctx, scope, d)
	if t.machine != nil {
		t.machine.hangUp()
		err = errors.Join(err, s.Discard(t.machine.vm))
	}
	if err != nil && ctx.Err() == nil {
		t.tell(err)
	}
}

func (t *twin) look(ctx context.Context, scope string, d time.Duration) error {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if t.err != nil {
		return t.err
	}
	if err := sleep(ctx, d-time.Since(t.before.ended)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, twinTime, fmt.Errorf("no answer in %s", twinTime))
	defer cancel()
	after, err := t.machine.take(ctx, t.session, t.only)
	if err != nil {
		return err
	}
	changes, _, err := capture.Diff(t.before.capture, after.capture, capture.DiffOptions{})
	if err == nil {
		t.session.AddPlacebo(newPlacebo(t.of.image.Digest, scope, after.began.Sub(t.before.ended), changes))
	}
	return err
}

// tell says why there is no placebo.
func (t *twin) tell(err error) {
	if errors.Is(err, engine.ErrNoRoom) {
		err = engine.ErrNoRoom
	}
	t.session.Log(fmt.Sprintf("placebo: %s: none this time: %v", t.of.name, err))
}

// compare takes what is known as noise out of the changes between two captures.
func compare(ctx context.Context, s *engine.Session, before, after *Capture, changes []assay.Change, subtract bool) *Changes {
	c := &Changes{machine: after.machine, changes: changes}
	if !subtract {
		return c
	}
	d := after.began.Sub(before.ended)
	if before.twin != nil && before.machine == after.machine {
		before.twin.measure(ctx, before.scope, d)
		before.twin = nil
	}
	known := s.Placebos(ctx, after.machine.image.Digest, before.scope)
	c.changes, c.noise = capture.NewNoise(known.Placebos).Subtract(changes, seconds(d))
	return c
}

// keep stores the changes as a diff.
func (c *Changes) keep(s *engine.Session, before, after *Capture) {
	c.diff = s.AddDiff(assay.Diff{Before: before.record.ID, After: after.record.ID, Changes: c.changes, Ignored: c.ignored, Noise: c.noise})
}
