package utm

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap("snapshot", err)
	}
	defer give()
	return m.wrap("snapshot", m.save(ctx, name))
}

func (m *machine) save(ctx context.Context, name string) error {
	if instead, lacks := m.Lacks(vm.CapSnapshot); lacks {
		return &vm.UnsupportedError{Machine: m.id, Want: "snapshot", Instead: instead}
	}
	if _, err := m.snapshot(name); err == nil {
		return fmt.Errorf("%q: %w", name, fs.ErrExist)
	}
	m.line.Cut()
	r, err := m.d.ctl.Do(ctx, cli.Call{Args: []string{"snapshot", "create", m.id, "--name", savePrefix + name}, Limit: m.d.boot})
	if err != nil {
		return err
	}
	id, err := m.idOf(ctx, r.Text())
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.saved[name] = id
	m.mu.Unlock()
	return m.ready(ctx)
}

// snapshot returns the id of a snapshot that this machine has made.
func (m *machine) snapshot(name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.saved[name]
	if id == "" {
		return "", fmt.Errorf("%q: %w", name, fs.ErrNotExist)
	}
	return id, nil
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
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap("restore", err)
	}
	defer give()
	return m.wrap("restore", m.restore(ctx, name))
}

func (m *machine) restore(ctx context.Context, name string) error {
	id, err := m.snapshot(name)
	if err != nil {
		return err
	}
	m.line.Cut()
	if _, err := m.d.ctl.Do(ctx, cli.Call{Args: []string{"snapshot", "restore", m.id, "--snapshot", id}, Limit: m.d.boot}); err != nil {
		return err
	}
	if e, err := m.d.find(ctx, m.id); err != nil {
		return err
	} else if e.state != started {
		if err := m.d.start(ctx, m.id); err != nil {
			return err
		}
	}
	return m.ready(ctx)
}

// Suspend implements vm.Suspender: the guest stands still in memory.
func (m *machine) Suspend(ctx context.Context) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap("suspend", err)
	}
	defer give()
	_, err = m.d.run(ctx, "suspend", m.id)
	return m.wrap("suspend", m.d.reach(ctx, m.id, paused, err))
}

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap("resume", err)
	}
	defer give()
	return m.wrap("resume", m.d.start(ctx, m.id))
}

// Usage implements vm.Usager: what QEMU's process costs, which has the machine's
// id among its arguments.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	u, err := cli.ProcessUsage(ctx, m.id)
	if err != nil {
		return u, m.wrap("usage", err)
	}
	u.Disk, err = cli.Occupied(filepath.Join(documents(), m.name+".utm"))
	return u, m.wrap("usage", err)
}
