package vmware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"assay/vm"
)

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Snapshot saves memory and disk; the guest stands still meanwhile.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	return m.Control(ctx, fmt.Sprintf("snapshot %q", name), func(ctx context.Context) error {
		if _, taken := m.saved(name); taken {
			return fs.ErrExist
		}
		if err := m.alive(ctx); err != nil {
			return err
		}
		m.Cut()
		own := "assay-" + strings.ToLower(rand.Text()[:12]) // a slash would be a path, and forks inherit names
		if err := m.take(ctx, own); err != nil {
			return err
		}
		m.mu.Lock()
		m.snapshots[name] = own
		m.mu.Unlock()
		return m.alive(ctx)
	})
}

// take takes a snapshot and looks that it is there.
func (m *machine) take(ctx context.Context, own string) error {
	if _, err := m.p.run(ctx, "snapshot", m.vmx, own); err != nil {
		return err
	}
	r, err := m.p.run(ctx, "listSnapshots", m.vmx)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(r.Stdout)), own) {
		return fmt.Errorf("vmrun said that it took %s, and does not list it", own)
	}
	return nil
}

// saved returns VMware's name of a snapshot.
func (m *machine) saved(name string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own, ok := m.snapshots[name]
	return own, ok
}

// Restore goes back to a snapshot of this machine.
func (m *machine) Restore(ctx context.Context, name string) error {
	return m.Control(ctx, fmt.Sprintf("restore %q", name), func(ctx context.Context) error {
		own, ok := m.saved(name)
		if !ok {
			return fs.ErrNotExist
		}
		m.Cut()
		return m.revert(ctx, own)
	})
}

// revert goes back to a snapshot and lets the machine run on from its memory: it
// is off, or suspended, after that.
func (m *machine) revert(ctx context.Context, own string) error {
	if err := m.p.stop(ctx, m.vmx); err != nil {
		return err
	}
	if _, err := m.p.run(ctx, "revertToSnapshot", m.vmx, own); err != nil {
		return err
	}
	// The description of the machine went back too: of a fork, to its parent's.
	if m.user == nil {
		if err := edit(m.vmx, append([]string{"displayName", m.name}, m.ports()...)...); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.suspended = false
	m.mu.Unlock()
	return m.run(ctx)
}

// Fork makes a machine of its own from a snapshot. vmrun clones only what was
// saved while it was off, so this copies the snapshot's files, as people copy a
// machine's folder, and reverts the copy: memory and all.
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
	own, ok := m.saved(snapshot)
	if !ok {
		return nil, fs.ErrNotExist
	}
	note, err := m.d.place.Note(m.name)
	if err != nil {
		return nil, err
	}
	f, err := m.d.add(m.p, spec, note.Base)
	if err != nil {
		return nil, err
	}
	f.open, f.password = m.open, m.password
	if err = f.copy(m, own); err == nil {
		err = f.revert(ctx, own)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copy gives f the files that a snapshot of its parent needs. Those are written
// to no more, so a further name for each will do.
func (f *machine) copy(parent *machine, own string) error {
	if err := f.console().Begin(parent.console()); err != nil {
		return err
	}
	snapshots, err := readConfig(strings.TrimSuffix(parent.vmx, ".vmx") + ".vmsd")
	if err != nil {
		return err
	}
	disk, err := diskOf(snapshots, own)
	if err != nil {
		return err
	}
	description, err := readConfig(parent.vmx)
	if err != nil {
		return err
	}
	top := strings.TrimSuffix(description.get("scsi0:0.fileName"), ".vmdk")
	entries, err := os.ReadDir(parent.home)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !saves(parent.home, e.Name(), top) {
			continue
		}
		if err := share(filepath.Join(parent.home, e.Name()), f.path(e.Name())); err != nil {
			return err
		}
	}
	if err := snapshots.write(strings.TrimSuffix(f.vmx, ".vmx") + ".vmsd"); err != nil {
		return err
	}
	return description.with("displayName", f.name, "scsi0:0.fileName", disk, "uuid.action", "keep").write(f.vmx)
}

// diskOf returns the disk that a snapshot saved.
func diskOf(snapshots config, own string) (string, error) {
	for i := range 1000 {
		s := fmt.Sprintf("snapshot%d.", i)
		if snapshots.get(s+"displayName") == own {
			if disk := snapshots.get(s + "disk0.fileName"); disk != "" {
				return disk, nil
			}
		}
	}
	return "", fmt.Errorf("the machine's list of snapshots has no disk of %s", own)
}

// saves reports whether a snapshot may need a file of its machine's; top is the
// disk that the machine writes to. The memory of a machine that runs is a file
// too, which belongs to no snapshot.
func saves(folder, file, top string) bool {
	stem, ext := strings.TrimSuffix(file, filepath.Ext(file)), filepath.Ext(file)
	switch ext {
	case ".vmdk":
		return stem != top && !strings.HasPrefix(stem, top+"-s0") && stem != top+"-flat"
	case ".vmem":
		_, err := os.Stat(filepath.Join(folder, stem+".vmsn"))
		return err == nil
	}
	return ext == ".vmsn" || ext == ".nvram" || ext == ".iso"
}

// share gives a file another name, or copies it where that does not go.
func share(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFiles(filepath.Dir(from), filepath.Dir(to), filepath.Base(to))
}
