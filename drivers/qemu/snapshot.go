//go:build linux

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
// one, which nobody writes to any more, a file with its memory, which machines
// map privately, and one with the state of its devices.
type snapshot struct {
	layer    int
	layers   []int // that layer and all below it, oldest first
	state    string
	ram      string
	vars     string // copy of the UEFI variables; empty if there are none
	console  int64  // how long the console was
	linkDown bool
}

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

// take saves the guest. It stands still while its disk's layer is frozen and
// while what is its own of its memory is copied; the rest is copied afterwards,
// from where the machine itself has it.
func (m *machine) take(ctx context.Context, p *process) (s snapshot, err error) {
	m.mu.Lock()
	s = snapshot{
		layer: m.top, layers: m.chain, linkDown: m.linkDown,
		state: m.path(fmt.Sprintf("state.%d", m.layers)), ram: m.path(fmt.Sprintf("ram.%d", m.layers)),
	}
	m.mu.Unlock()
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.state), os.RemoveAll(s.ram))
		}
	}()
	if err := m.hangUp(ctx, p); err != nil {
		return s, err
	}
	mem, err := p.openMemory(ctx, m.mem, m.hw.Memory)
	if err != nil {
		return s, err
	}
	defer mem.close()
	draft, err := createRAM(s.ram, m.hw.Memory)
	if err != nil {
		return s, err
	}
	defer draft.Close()
	if err := m.still(ctx, p, &s, func() error { return mem.saveOwn(draft) }); err != nil {
		return s, err
	}
	return s, mem.saveRest(draft)
}

// still stops the guest for as long as it takes to freeze its disk, to save its
// devices and to do copyMemory, and lets it go on unless it was suspended.
func (m *machine) still(ctx context.Context, p *process, s *snapshot, copyMemory func() error) (err error) {
	m.mu.Lock()
	suspended := m.suspended
	m.mu.Unlock()
	if err := p.monitor.call(ctx, "stop", nil, nil); err != nil {
		return err
	}
	if !suspended {
		// The guest goes on even if the caller has gone.
		defer func() { err = errors.Join(err, p.monitor.call(context.WithoutCancel(ctx), "cont", nil, nil)) }()
	}
	copied := make(chan error, 1)
	go func() { copied <- copyMemory() }()
	err = m.saveStill(ctx, p, s)
	return errors.Join(<-copied, err)
}

// saveStill saves all of a stopped guest but its memory.
func (m *machine) saveStill(ctx context.Context, p *process, s *snapshot) error {
	if err := m.freeze(ctx, p); err != nil {
		return err
	}
	if info, err := os.Stat(m.path(consoleName)); err == nil {
		s.console = info.Size()
	}
	if m.hw.Code != "" {
		s.vars = s.state + ".vars"
		if err := copyFile(m.path(varsName), s.vars); err != nil {
			return err
		}
	}
	return p.saveDevices(ctx, s.state)
}

// saveDevices writes the state of a stopped guest's devices to a new file, and
// nothing else: its memory is saved, or lives, beside it. Despite its name the
// command has nothing to do with Xen. What loads the state runs on at once.
func (p *process) saveDevices(ctx context.Context, path string) error {
	err := p.monitor.call(ctx, "xen-save-devices-state", map[string]any{"filename": path, "live": false}, nil)
	if full := roomFor(path); err != nil && full != nil {
		return full // QEMU itself is laconic about full disks
	}
	return err
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
	defer m.endProcess(errRestored)()
	// Every snapshot froze its layer, so the writable one belongs to nobody.
	if err := os.Remove(m.path(layerName(m.top))); err != nil {
		return err
	}
	if err := m.wake(ctx, s, same); err != nil {
		return fmt.Errorf("qemu: %s: restore %q: %w", m.hw.ID, name, err)
	}
	return nil
}

// wake makes a new writable layer over a snapshot whose files are in the
// machine's folder, and runs on from it.
func (m *machine) wake(ctx context.Context, s snapshot, who identity) error {
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
	p, err := m.resume(ctx, saved{mem: ram{path: s.ram}, state: s.state, linkDown: s.linkDown})
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.suspended, m.linkDown = false, s.linkDown
	m.mu.Unlock()
	return m.renew(ctx, p, who)
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
		err = f.wake(ctx, s, f.newcomer())
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
	f.hostKeys = m.hostKeys
	f.layers, f.ids = m.layers, m.sharedIDs(s)
	if f.lease, err = m.shareLease(); err != nil {
		return f, s, err
	}
	for _, n := range s.layers {
		if err := share(m.path(layerName(n)), f.path(layerName(n))); err != nil {
			return f, s, err
		}
	}
	const state, memory = "state.fork", "ram.fork"
	if err := share(s.state, f.path(state)); err != nil {
		return f, s, err
	}
	if err := shareRAM(s.ram, f.path(memory)); err != nil {
		return f, s, err
	}
	s.state, s.ram = f.path(state), f.path(memory)
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
