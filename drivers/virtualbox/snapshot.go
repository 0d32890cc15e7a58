package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Snapshot saves memory and disk; the guest stands still meanwhile.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	return m.Control(ctx, fmt.Sprintf("snapshot %q", name), func(ctx context.Context) error { return m.snapshot(ctx, name) })
}

func (m *machine) snapshot(ctx context.Context, name string) error {
	if _, taken := m.saved(name); taken {
		return fs.ErrExist
	}
	if err := m.alive(ctx); err != nil {
		return err
	}
	m.Cut()
	id, err := m.take(ctx, name)
	if err == nil {
		err = m.d.until(ctx, m.id, running, paused)
	}
	if err != nil {
		// VirtualBox may have left the guest standing.
		return errors.Join(err, m.hold(context.WithoutCancel(ctx), m.held()))
	}
	m.mu.Lock()
	m.snapshots[name] = id
	m.mu.Unlock()
	return nil
}

// take takes a snapshot and looks that it is there.
func (m *machine) take(ctx context.Context, name string) (string, error) {
	m.mu.Lock()
	n := len(m.snapshots) + 1
	m.mu.Unlock()
	// The script's name might begin with a dash.
	r, err := m.d.run(ctx, "snapshot", m.id, "take", fmt.Sprintf("s%d", n), "--description="+name)
	if err != nil {
		return "", err
	}
	id, err := uuid(r)
	if err != nil {
		return "", err
	}
	list, err := m.d.run(ctx, "snapshot", m.id, "list", "--machinereadable")
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(list.Stdout), `="`+id+`"`) {
		return "", fmt.Errorf("VBoxManage said that it took %s, and does not list it", id)
	}
	return id, nil
}

// saved returns a snapshot's id.
func (m *machine) saved(name string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id, ok := m.snapshots[name]
	return id, ok
}

// Restore goes back to a snapshot of this machine.
func (m *machine) Restore(ctx context.Context, name string) error {
	return m.Control(ctx, fmt.Sprintf("restore %q", name), func(ctx context.Context) error { return m.restore(ctx, name) })
}

func (m *machine) restore(ctx context.Context, name string) error {
	id, ok := m.saved(name)
	if !ok {
		return fs.ErrNotExist
	}
	m.Cut()
	if err := m.d.powerOff(ctx, m.id); err != nil {
		return err
	}
	if _, err := m.d.run(ctx, "snapshot", m.id, "restore", id); err != nil {
		return err
	}
	m.mu.Lock()
	m.suspended = false
	m.mu.Unlock()
	return m.run(ctx)
}

// Fork makes a machine whose disks lie on the snapshot's, and lets it run on from
// the snapshot's memory.
func (m *machine) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	var f *machine
	err := m.Control(ctx, fmt.Sprintf("fork of %q", snapshot), func(ctx context.Context) (err error) {
		f, err = m.fork(ctx, snapshot, spec)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(spec.Dir))
	}
	return f, nil
}

func (m *machine) fork(ctx context.Context, snapshot string, spec vm.Spec) (*machine, error) {
	id, ok := m.saved(snapshot)
	if !ok {
		return nil, fs.ErrNotExist
	}
	parent, err := m.d.place.Note(m.name)
	if err != nil {
		return nil, err
	}
	f, err := m.d.add(spec, cli.Note{Parent: m.name, Base: parent.Base})
	if err != nil {
		return nil, err
	}
	if err = f.clone(ctx, m, id); err == nil {
		err = f.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// clone registers f as a linked clone of a snapshot, with serial ports of its own.
func (f *machine) clone(ctx context.Context, parent *machine, snapshot string) error {
	if err := f.console().Begin(parent.console()); err != nil {
		return err
	}
	_, err := f.d.run(ctx, "clonevm", parent.id, "--name", f.name, "--register", "--snapshot", snapshot,
		"--options", "link", "--basefolder", f.d.place.Dir(""))
	if err != nil {
		return err
	}
	i, err := f.d.info(ctx, f.name)
	if err != nil {
		return err
	}
	if f.id = i["UUID"]; f.id == "" {
		return fmt.Errorf("showvminfo: got no UUID of %s", f.name)
	}
	if err := f.d.place.Edit(f.name, func(n *cli.Note) { n.ID = f.id }); err != nil {
		return err
	}
	_, err = f.d.run(ctx, append([]string{"modifyvm", f.id}, f.ports()...)...)
	return err
}
