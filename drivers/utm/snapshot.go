package utm

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// savePrefix begins the names of our snapshots in UTM, which gives a name that is
// taken a number: a snapshot is known by its id.
const savePrefix = "assay-"

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Snapshot implements vm.Snapshotter.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	return m.Control(ctx, "snapshot", func(ctx context.Context) error { return m.save(ctx, name) })
}

func (m *machine) save(ctx context.Context, name string) error {
	if instead, lacks := m.Lacks(vm.CapSnapshot); lacks {
		return &vm.UnsupportedError{Machine: m.id, Want: "snapshot", Instead: instead}
	}
	if err := m.saved.Free(name); err != nil {
		return err
	}
	m.Cut()
	r, err := m.d.ctl.Do(ctx, cli.Call{Args: []string{"snapshot", "create", m.id, "--name", savePrefix + name}, Limit: m.d.boot})
	if err != nil {
		return err
	}
	id, err := m.idOf(ctx, r.Text())
	if err != nil {
		return err
	}
	m.saved.Add(name, id)
	return m.ready(ctx)
}

// idOf returns the id of the snapshot that UTM has just made, which must have the
// memory.
func (m *machine) idOf(ctx context.Context, name string) (string, error) {
	r, err := m.d.run(ctx, "snapshot", "list", m.id, "--json")
	if err != nil {
		return "", err
	}
	var list []struct {
		ID, Name string
		Memory   bool `json:"includesRunningState"`
	}
	if err := json.Unmarshal(r.Stdout, &list); err != nil {
		return "", fmt.Errorf("utmctl snapshot list: got %.200q: %w", r.Text(), err)
	}
	for _, s := range list {
		if s.Name == name && s.Memory {
			return s.ID, nil
		}
	}
	return "", fmt.Errorf("utmctl says that it took the snapshot %q, and the machine has none of that name with the memory", name)
}

// Restore implements vm.Snapshotter.
func (m *machine) Restore(ctx context.Context, name string) error {
	return m.Control(ctx, "restore", func(ctx context.Context) error { return m.restore(ctx, name) })
}

func (m *machine) restore(ctx context.Context, name string) error {
	id, err := m.saved.ID(name)
	if err != nil {
		return err
	}
	m.Cut()
	if _, err := m.d.ctl.Do(ctx, cli.Call{Args: []string{"snapshot", "restore", m.id, "--snapshot", id}, Limit: m.d.boot}); err != nil {
		return err
	}
	if err := m.goOn(ctx); err != nil {
		return err
	}
	return m.ready(ctx)
}

// goOn lets the machine run, if it does not.
func (m *machine) goOn(ctx context.Context) error {
	l, err := m.d.find(ctx, m.id)
	if err != nil || l.State == started {
		return err
	}
	return m.d.start(ctx, m.id)
}

// Suspend implements vm.Suspender: the guest stands still in memory.
func (m *machine) Suspend(ctx context.Context) error {
	return m.Control(ctx, "suspend", func(ctx context.Context) error {
		_, err := m.d.run(ctx, "suspend", m.id)
		return m.d.reach(ctx, m.id, paused, err)
	})
}

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error {
	return m.Control(ctx, "resume", func(ctx context.Context) error { return m.d.start(ctx, m.id) })
}

// Usage implements vm.Usager: what QEMU's process costs, which has the machine's
// id among its arguments.
func (m *machine) Usage(ctx context.Context) (u vm.Usage, err error) {
	err = m.Control(ctx, "usage", func(ctx context.Context) error {
		if u, err = cli.ProcessUsage(ctx, m.id); err != nil {
			return err
		}
		u.Disk, err = cli.Occupied(filepath.Join(documents(), m.name+".utm"))
		return err
	})
	return u, err
}
