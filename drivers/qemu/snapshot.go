package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"assay/vm"
)

// A snapshot is a guest's whole state at one moment: the disk's layers up to
// one, which nobody writes to any more, and a file with everything else.
type snapshot struct {
	layer    int
	layers   []int // that layer and all below it, oldest first
	state    string
	vars     string // copy of the UEFI variables; empty if there are none
	console  int64  // how long the console was
	linkDown bool
}

// saveBandwidth is for saving to a file: as fast as it goes.
const saveBandwidth = int64(1) << 40

// Snapshot saves memory and disk while the guest stands still. It cuts the line.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	if _, taken := m.snapshots[name]; taken {
		return fmt.Errorf("qemu: %s: snapshot %q: %w", m.hw.ID, name, fs.ErrExist)
	}
	p, err := m.process()
	if err != nil {
		return err
	}
	s, err := m.take(ctx, p)
	if err != nil {
		return fmt.Errorf("qemu: %s: snapshot %q: %w", m.hw.ID, name, p.explain(ctx, err))
	}
	m.snapshots[name] = s
	return nil
}

// take stops the guest, freezes its layer, saves the rest, and lets it go on.
func (m *machine) take(ctx context.Context, p *process) (s snapshot, err error) {
	m.mu.Lock()
	suspended := m.suspended
	s = snapshot{layer: m.top, state: m.path(fmt.Sprintf("state.%d", m.layers)), linkDown: m.linkDown}
	m.mu.Unlock()
	if err := m.hangUp(ctx, p); err != nil {
		return s, err
	}
	if err := p.monitor.call(ctx, "stop", nil, nil); err != nil {
		return s, err
	}
	if !suspended {
		// The guest goes on even if the caller has gone.
		defer func() { err = errors.Join(err, p.monitor.call(context.WithoutCancel(ctx), "cont", nil, nil)) }()
	}
	s.layers = m.chain
	if err := m.freeze(ctx, p); err != nil {
		return s, err
	}
	if info, err := os.Stat(m.path(consoleName)); err == nil {
		s.console = info.Size()
	}
	if m.hw.Code != "" {
		s.vars = s.state + ".vars"
		if err := copyFile(m.path(varsName), s.vars); err != nil {
			return s, err
		}
	}
	if err := p.save(ctx, s.state, false); err != nil {
		return s, errors.Join(err, os.Remove(s.state))
	}
	return s, nil
}

// freeze puts a new layer on top of the disk; the one below is written to no more.
func (m *machine) freeze(ctx context.Context, p *process) error {
	n := m.layers
	if err := createOverlay(m.path(layerName(n)), layerName(m.top), "qcow2", m.hw.Size); err != nil {
		return err
	}
	err := p.monitor.call(ctx, "blockdev-snapshot-sync", map[string]any{
		"device": "disk", "snapshot-file": layerName(n), "format": "qcow2", "mode": "existing",
	}, nil)
	if err != nil {
		return errors.Join(err, os.Remove(m.path(layerName(n))))
	}
	m.grew(n)
	return nil
}

// grew notes that layer n is the writable one, on top of the present chain.
func (m *machine) grew(n int) {
	m.top, m.layers = n, n+1
	m.chain = append(m.chain[:len(m.chain):len(m.chain)], n)
}

// save writes the state of a stopped guest to a new file.
func (p *process) save(ctx context.Context, path string, ignoreShared bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.ignoreShared(ctx, ignoreShared); err != nil {
		return err
	}
	if err := p.monitor.call(ctx, "migrate-set-parameters", map[string]any{"max-bandwidth": saveBandwidth}, nil); err != nil {
		return err
	}
	if err := p.monitor.callFile(ctx, "getfd", map[string]any{"fdname": "state"}, f, nil); err != nil {
		return err
	}
	if err := p.monitor.call(ctx, "migrate", map[string]any{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return p.poll(ctx, "query-migrate", statusIs(func(status string) (bool, error) {
		if status == "failed" || status == "cancelled" {
			return false, p.saveFailure(ctx, path)
		}
		return status == "completed", nil
	}))
}

// saveFailure says why saving failed; QEMU itself is laconic about full disks.
func (p *process) saveFailure(ctx context.Context, path string) error {
	var now struct {
		Error string `json:"error-desc"`
	}
	p.monitor.call(ctx, "query-migrate", nil, &now)
	if err := roomFor(path); err != nil {
		return err
	}
	return fmt.Errorf("save: %s: %s", path, now.Error)
}

// Restore replaces QEMU by one that runs on from the snapshot. It cuts the line.
func (m *machine) Restore(ctx context.Context, name string) error {
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.unlock()
	s, ok := m.snapshots[name]
	if !ok {
		return fmt.Errorf("qemu: %s: snapshot %q: %w", m.hw.ID, name, fs.ErrNotExist)
	}
	m.stopProcess(errRestored)
	// Every snapshot froze its layer, so the writable one belongs to nobody.
	if err := os.Remove(m.path(layerName(m.top))); err != nil {
		return err
	}
	if err := m.wake(ctx, s, false); err != nil {
		return fmt.Errorf("qemu: %s: restore %q: %w", m.hw.ID, name, err)
	}
	return nil
}

// wake makes a new writable layer over a snapshot whose files are in the
// machine's folder, and runs on from it.
func (m *machine) wake(ctx context.Context, s snapshot, named bool) error {
	n := m.layers
	m.chain = s.layers
	if err := createOverlay(m.path(layerName(n)), layerName(s.layer), "qcow2", m.hw.Size); err != nil {
		return err
	}
	m.grew(n)
	if s.vars != "" {
		if err := replaceFile(s.vars, m.path(varsName)); err != nil {
			return err
		}
	}
	p, err := m.resume(ctx, saved{state: s.state, linkDown: s.linkDown})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.suspended, m.linkDown = false, s.linkDown
	m.mu.Unlock()
	return m.renew(ctx, p, named)
}

// Fork makes a machine of its own from a snapshot: the snapshot's files are
// linked into its folder, so that it may outlive this machine.
func (m *machine) Fork(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	if err := m.lock(ctx); err != nil {
		return nil, err
	}
	s, ok := m.snapshots[name]
	if !ok {
		m.unlock()
		return nil, fmt.Errorf("qemu: %s: snapshot %q: %w", m.hw.ID, name, fs.ErrNotExist)
	}
	f, s, err := m.child(s, spec)
	m.unlock() // the fork has files of its own now
	if err == nil {
		err = f.wake(ctx, s, true)
	}
	if err != nil {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
		return nil, fmt.Errorf("qemu: %s: fork of %q: %w", spec.Name, name, err)
	}
	return f, nil
}

// child makes a machine that has not started, with the files of a snapshot.
func (m *machine) child(s snapshot, spec vm.Spec) (*machine, snapshot, error) {
	hw := m.hw
	hw.ID = machineID(spec)
	if err := fits(spec.Dir, hw, 0); err != nil {
		return nil, s, err
	}
	f, err := m.d.newMachine(m.tools, hw, spec)
	if err != nil {
		return nil, s, err
	}
	f.layers, f.ids = m.layers, m.sharedIDs(s)
	if f.lease, err = m.shareLease(); err != nil {
		return f, s, err
	}
	for _, n := range s.layers {
		if err := share(m.path(layerName(n)), f.path(layerName(n))); err != nil {
			return f, s, err
		}
	}
	const state = "state.fork"
	if err := share(s.state, f.path(state)); err != nil {
		return f, s, err
	}
	s.state = f.path(state)
	if err := copyPart(m.path(consoleName), f.path(consoleName), s.console); err != nil {
		return f, s, err
	}
	if s.vars != "" {
		if err := share(s.vars, f.path(state+".vars")); err != nil {
			return f, s, err
		}
		s.vars = f.path(state + ".vars")
	}
	return f, s, nil
}
