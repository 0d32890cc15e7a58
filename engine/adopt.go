package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"assay/platform"
	"assay/vm"
)

// An adoption is a machine that somebody else made and that a cell uses.
type adoption struct {
	name string   // the hypervisor's
	lock *os.File // held as long as the cell uses it
	undo bool     // it has a snapshot to go back to
}

// foundSnapshot is what a machine was when it was adopted. Scripts cannot take
// names that begin so.
const foundSnapshot = "assay-found"

// undoTime is how long an adopted machine may take to become what it was, beside
// the time to let go of it.
const undoTime = 5 * time.Minute

// Adopt returns a machine that somebody else made, started if it was off, and
// leaves it as it was when the cell ends: off or running and, if undo is set and
// the machine can go back to a snapshot, with nothing in it that the test wrote.
// It waits while another cell, also of another run, uses the machine. It takes no
// share of what the host has to give: the machine is the user's. spec gives its
// name in the test; the rest is filled in.
func (s *Session) Adopt(ctx context.Context, driver, name string, spec vm.Spec, undo bool) (vm.Machine, vm.Spec, error) {
	d, err := s.env.driver(driver)
	if err != nil {
		return nil, spec, err
	}
	a, ok := d.(vm.Adopter)
	if !ok {
		return nil, spec, Scriptf("launch: for parameter existing: %s", Lack(ctx, d, s.env.Drivers, Existing))
	}
	found, err := s.claim(ctx, driver, name)
	if err != nil {
		return nil, spec, err
	}
	if spec, err = s.outfit(spec); err != nil {
		return nil, spec, errors.Join(err, found.lock.Close())
	}
	defer s.making.Done()
	spec.CPUs, spec.Memory = 0, 0
	own, err := s.adopt(ctx, a, driver, found, spec, undo)
	if errors.Is(err, fs.ErrNotExist) {
		err = Scriptf("launch: for parameter existing: %s has no machine %q: %v", driver, name, err)
	}
	if err != nil {
		return nil, spec, errors.Join(err, found.lock.Close())
	}
	return own, spec, nil
}

// adopt takes over a machine that nobody else uses.
func (s *Session) adopt(ctx context.Context, a vm.Adopter, driver string, found *adoption, spec vm.Spec, undo bool) (*machine, error) {
	started := s.announce(&spec, driver)
	spec.Progress("going into it")
	m, err := a.Adopt(ctx, found.name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("launch: %w", err), s.unmake(spec, started))
	}
	started()
	own := &machine{Machine: m, spec: spec, driver: driver, waited: waiting(m), found: found}
	if undo {
		err = s.remember(ctx, own)
	}
	if err == nil {
		err = s.book(own)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close(), s.unmake(spec, started))
	}
	return own, nil
}

// remember saves what an adopted machine is, if it can be saved.
func (s *Session) remember(ctx context.Context, m *machine) error {
	saver, err := vm.As[vm.Snapshotter](m)
	if err != nil {
		why, _ := s.Lack(m, m.driver, string(vm.CapSnapshot)) // the word is one
		s.Log(fmt.Sprintf("%s: what the test writes into it stays: %s", m.found.name, why))
		return nil
	}
	s.Phase("saving what it is")
	err = saver.Snapshot(ctx, foundSnapshot)
	if errors.Is(err, fs.ErrExist) {
		// To go back to it by itself could undo what the user did since.
		return fmt.Errorf("launch: %s: an earlier run that died left its snapshot there: go back to it, or delete it, with the hypervisor's own command: %w", m.found.name, err)
	}
	if err != nil {
		return fmt.Errorf("launch: %s: saving what it is: %w; launch(existing = %q, undo = False) leaves what the test writes", m.found.name, err, m.found.name)
	}
	m.found.undo = true
	return nil
}

// undo makes an adopted machine what it was.
func (m *machine) undo() error {
	if m.found == nil || !m.found.undo {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), undoTime, fmt.Errorf("not done in %s", undoTime))
	defer cancel()
	saver, err := vm.As[vm.Snapshotter](m)
	if err == nil {
		err = saver.Restore(ctx, foundSnapshot)
	}
	if err != nil {
		return fmt.Errorf("%s is not what it was before: %w", m.found.name, err)
	}
	return nil
}

// closeTime is how long the machine may take to be gone.
func (m *machine) closeTime() time.Duration {
	if m.found != nil && m.found.undo {
		return undoTime + closeTime
	}
	return closeTime
}

// letGo gives back what a machine took.
func (s *Session) letGo(m *machine) {
	if m.found == nil {
		s.host.release(m.spec.CPUs, m.spec.Memory)
		return
	}
	m.found.lock.Close()
}

// claimPause is how often a machine that another cell uses is asked for again.
const claimPause = 200 * time.Millisecond

// claim waits until no other cell uses a machine, and keeps others from it.
func (s *Session) claim(ctx context.Context, driver, name string) (*adoption, error) {
	s.mu.Lock()
	for _, m := range s.machines {
		if m.found != nil && m.found.name == name && m.driver == driver {
			s.mu.Unlock()
			return nil, Scriptf("launch: for parameter existing: got %q twice, want another machine", name)
		}
	}
	s.mu.Unlock()
	dir := filepath.Join(s.env.StateDir, "existing")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &InfraError{Err: fmt.Errorf("launch: %w", err)}
	}
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%.100s.lock", plain(driver+"-"+name))), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &InfraError{Err: fmt.Errorf("launch: %w", err)}
	}
	for {
		err := platform.Lock(f, platform.Exclusive)
		if err == nil {
			return &adoption{name: name, lock: f}, nil
		}
		if !errors.Is(err, platform.ErrLocked) {
			f.Close()
			return nil, &InfraError{Err: fmt.Errorf("launch: %s: %w", name, err)}
		}
		s.Phase("waiting for another test that uses " + name)
		select {
		case <-time.After(claimPause):
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}
