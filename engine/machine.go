package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"assay"
	"assay/vm"
)

// A machine is one that a session owns.
type machine struct {
	vm.Machine
	spec   vm.Spec
	driver string
	line   net.Listener         // its control socket, if a verb asked for one
	waited func() time.Duration // for a processor of the host, since the launch
	twin   bool                 // no part of the test: see Session.Twin
	found  *adoption            // somebody else made it; nil: this cell did
}

// Launch makes a machine that lives no longer than the cell, and returns it with
// its spec, in which Name, if it was empty, Owner, Dir and Progress are filled
// in. It waits until the host has room for the machine. If fit is set, or the user
// said so, a request that is larger than the host shrinks until it fits.
func (s *Session) Launch(ctx context.Context, driver string, spec vm.Spec, fit bool) (vm.Machine, vm.Spec, error) {
	d, err := s.env.driver(driver)
	if err != nil {
		return nil, spec, err
	}
	for {
		m, made, err := s.own(ctx, driver, spec, missing(ctx, d, spec), func(spec vm.Spec) (vm.Machine, error) { return d.Launch(ctx, spec) })
		smaller, what, ok := shrink(spec, err)
		switch {
		case !ok:
			return m, made, err
		case !fit && !s.job.Fit:
			return m, made, fmt.Errorf("%w; %s would fit: \"assay run --fit\" and launch(fit = True) take it", err, what)
		}
		s.Log(fmt.Sprintf("%v; taking %s", err, what))
		spec = smaller
	}
}

// Fork makes a machine from a snapshot of parent, which driver made from spec's
// image; the rest of spec is treated as by Launch.
func (s *Session) Fork(ctx context.Context, driver string, parent vm.Machine, snapshot string, spec vm.Spec) (vm.Machine, vm.Spec, error) {
	f, err := vm.As[vm.Forker](parent)
	if err != nil {
		return nil, spec, fmt.Errorf("launch: %w", err)
	}
	return s.own(ctx, driver, spec, "", func(spec vm.Spec) (vm.Machine, error) { return f.Fork(ctx, snapshot, spec) })
}

// own reserves room, calls launch, which makes the template if it is not empty,
// and books the machine.
func (s *Session) own(ctx context.Context, driver string, spec vm.Spec, template string, launch func(vm.Spec) (vm.Machine, error)) (vm.Machine, vm.Spec, error) {
	spec, err := s.outfit(spec)
	if err != nil {
		return nil, spec, err
	}
	defer s.making.Done()
	started := s.announce(&spec, driver)
	spec.Progress("waiting for processors and memory")
	if err := s.reserve(ctx, spec, template); err != nil {
		return nil, spec, fmt.Errorf("launch: %w", errors.Join(err, s.unmake(spec, started)))
	}
	spec.Progress("starting")
	m, err := launch(spec)
	if template != "" {
		s.host.launched(template, err == nil)
	}
	if err != nil {
		s.host.release(spec.CPUs, spec.Memory)
		return nil, spec, fmt.Errorf("launch: %w", errors.Join(err, s.unmake(spec, started)))
	}
	started()
	own := &machine{Machine: m, spec: spec, driver: driver, waited: waiting(m)}
	return own, spec, s.book(own)
}

// announce lets others see a machine that is being made: spec's Progress tells
// them how far it is. Nobody is told after started was called, nor that this
// could not be told.
func (s *Session) announce(spec *vm.Spec, driver string) (started func()) {
	l := Live{Run: s.job.RunID, Cell: s.job.Cell.ID, Name: spec.Name, Image: spec.Image.Name, Driver: driver, PID: os.Getpid(), Started: time.Now()}
	var mu sync.Mutex
	over := false
	told := spec.Progress
	spec.Progress = func(phase string) {
		told(phase)
		mu.Lock()
		defer mu.Unlock()
		if !over {
			l.Starting = phase
			_ = writeLive(s.ledger(l.Name), l)
		}
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
	}
}

// unmake removes what is left of a launch that failed.
func (s *Session) unmake(spec vm.Spec, started func()) error {
	started()
	err := os.Remove(s.ledger(spec.Name))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(spec.Dir))
}

// book notes a machine that lives.
func (s *Session) book(m *machine) error {
	s.mu.Lock()
	s.machines = append(s.machines, m)
	s.mu.Unlock()
	l := Live{Run: s.job.RunID, Cell: s.job.Cell.ID, Name: m.spec.Name, ID: m.ID(),
		Image: m.spec.Image.Name, Driver: m.driver, PID: os.Getpid(), Started: time.Now()}
	if m.found != nil {
		l.Existing = m.found.name
	}
	return writeLive(s.ledger(m.spec.Name), l)
}

// Accel returns how the driver runs guests here, such as "kvm"; empty if it
// does not say.
func (s *Session) Accel(driver string) string {
	d, err := s.env.driver(driver)
	if err != nil {
		return ""
	}
	info, err := d.Probe(s.ctx)
	if err != nil {
		return "" // it launched: what Probe says is a detail
	}
	return info.Accel
}

// Unwrap lets vm.As find what the driver's machine can do.
func (m *machine) Unwrap() vm.Machine { return m.Machine }

// outfit fills in what the engine decides about a machine. After it, the launch
// goes on until the caller says s.making.Done.
func (s *Session) outfit(spec vm.Spec) (_ vm.Spec, err error) {
	if err := s.beginLaunch(); err != nil {
		return spec, err
	}
	defer func() {
		if err != nil {
			s.making.Done()
		}
	}()
	name, err := s.machineName(spec)
	if err != nil {
		return spec, err
	}
	spec.Name, spec.Owner, spec.Progress = name, s.job.owner(), s.Phase
	spec.CPUs, spec.Memory = max(spec.CPUs, 1), max(spec.Memory, 1<<20)
	spec.Dir = filepath.Join(s.dir, name)
	if err := os.Mkdir(spec.Dir, 0o700); err != nil {
		return spec, &InfraError{Err: fmt.Errorf("launch: %w", err)}
	}
	return spec, nil
}

// beginLaunch counts a launch among those that go on.
func (s *Session) beginLaunch() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return fmt.Errorf("launch: the test is over: %w", context.Canceled)
	}
	s.making.Add(1)
	return nil
}

// lastLaunch lets no launch begin and waits for those that go on: they were
// cancelled, and a machine that comes up all the same is closed like the others.
func (s *Session) lastLaunch() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	over := make(chan struct{})
	go func() { s.making.Wait(); close(over) }()
	select {
	case <-over:
		return nil
	case <-time.After(undoTime):
		return fmt.Errorf("close: a launch goes on %s after it was cancelled", undoTime)
	}
}

// maxMachines bounds the machines of one cell.
const maxMachines = 64

// machineName checks the name that a script gave, or makes one up.
func (s *Session) machineName(spec vm.Spec) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.countReal() == maxMachines {
		return "", Scriptf("launch: got more than %d machines, want fewer", maxMachines)
	}
	taken := func(n string) bool {
		return slices.ContainsFunc(s.machines, func(m *machine) bool { return m.spec.Name == n })
	}
	if spec.Name == "" {
		for i := 1; ; i++ {
			if n := fmt.Sprintf("%.30s-%d", plain(spec.Image.Name), i); !taken(n) {
				return n, nil
			}
		}
	}
	if spec.Name != plain(spec.Name) || len(spec.Name) > 40 {
		return "", Scriptf("launch: for parameter name: got %q, want at most 40 of a-z, 0-9 and -", spec.Name)
	}
	if taken(spec.Name) {
		return "", Scriptf("launch: for parameter name: got %q twice, want another name", spec.Name)
	}
	return spec.Name, nil
}

// countReal returns how many machines the test has; s.mu is held.
func (s *Session) countReal() (n int) {
	for _, m := range s.machines {
		if !m.twin {
			n++
		}
	}
	return n
}

// plain replaces what may not stand in a machine's name.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	return strings.Trim(s, "-")
}

// AddMachine records a machine. A verb calls it when it knows the guest.
func (s *Session) AddMachine(m assay.Machine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell.Machines = append(s.cell.Machines, m)
	s.cell.Metrics = append(s.cell.Metrics, assay.Metric{Name: "boot_seconds", Value: m.Boot, Unit: "seconds"})
	s.leave(m)
}

// leave puts the record of a machine into its ledger, for those who find the
// run dead. s.mu is held.
func (s *Session) leave(m assay.Machine) {
	for _, own := range s.machines {
		if own.ID() != m.ID {
			continue
		}
		if live, err := readLive(s.ledger(own.spec.Name)); err == nil {
			live.Machine, live.Socket = &m, ""
			_ = writeLive(s.ledger(own.spec.Name), live) // the one that is there stays
		}
	}
}

// Listen opens the control socket of a machine of this session, through which
// another process may reach its guest. The engine closes it with the machine.
func (s *Session) Listen(m vm.Machine) (net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, own := range s.machines {
		if vm.Machine(own) == m && own.line == nil {
			l, err := listenUnix(s.socket(own.spec.Name))
			own.line = l
			return l, err
		}
	}
	return nil, &InfraError{Err: fmt.Errorf("listen: %s: not a machine of this cell, or it listens already", m.ID())}
}

// closeMachines destroys every machine of the session, at the same time.
func (s *Session) closeMachines() error {
	late := s.lastLaunch()
	s.mu.Lock()
	machines := s.machines
	s.machines = nil
	s.mu.Unlock()
	errs := make(chan error, len(machines))
	for _, m := range machines {
		go func() { errs <- s.closeMachine(m) }()
	}
	all := []error{late}
	for range machines {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// closeTime is how long a driver may take to destroy a machine.
const closeTime = 60 * time.Second

func (s *Session) closeMachine(m *machine) error {
	if m.line != nil {
		m.line.Close()
	}
	if !m.twin {
		s.saveConsole(m)
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(m.undo(), m.Close()) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(m.closeTime()):
		err = fmt.Errorf("still there after %s", m.closeTime())
	}
	s.letGo(m)
	if err != nil {
		return fmt.Errorf("close: %s (%s): %w; \"assay gc\" tries again", m.spec.Name, m.ID(), err)
	}
	return errors.Join(os.RemoveAll(m.spec.Dir), os.Rename(s.ledger(m.spec.Name), s.closed(m.spec.Name)))
}

// saveConsole keeps what the guest's console printed. A machine without a
// console, or one that is gone, has none to keep.
func (s *Session) saveConsole(m *machine) {
	c, err := vm.As[vm.Consoler](m)
	if err != nil {
		return
	}
	text, err := c.Console()
	if err != nil || len(text) == 0 {
		return
	}
	path, err := s.Scratch("console-" + m.spec.Name + ".log")
	if err != nil || os.WriteFile(path, text, 0o600) != nil {
		return
	}
	digest, err := s.Artifact(filepath.Base(path), path)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.cell.Machines {
		if s.cell.Machines[i].ID == m.ID() {
			s.cell.Machines[i].Console = digest
		}
	}
}

func (s *Session) ledger(name string) string { return filepath.Join(s.dir, name+".json") }

// closed is what the ledger of a machine is called when it is gone: nobody needs
// to look for it, but if the parent died, it tells what there was.
func (s *Session) closed(name string) string { return filepath.Join(s.dir, name+closedSuffix) }

func (s *Session) socket(name string) string { return filepath.Join(s.dir, name+".sock") }

// lives describes the session's machines to OnKeep.
func (s *Session) lives() []Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Live
	for _, m := range s.machines {
		if l, err := readLive(s.ledger(m.spec.Name)); err == nil {
			all = append(all, l)
		}
	}
	return all
}
