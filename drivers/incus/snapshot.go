package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// saved is one snapshot.
type saved struct {
	name      string // the server's
	unplugged map[string]map[string]string
}

// snapshotPrefix begins the server's names of snapshots: an adopted instance has
// others too.
const snapshotPrefix = "assay-"

// Snapshot implements vm.Snapshotter.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", m.id, err)
	}
	defer give()
	if _, taken := m.snapshots[name]; taken {
		return fmt.Errorf("%s: snapshot %q: %w", m.id, name, fs.ErrExist)
	}
	m.line.Cut()
	m.taken++
	s := saved{fmt.Sprintf("%s%d", snapshotPrefix, m.taken), m.unplugged}
	err = m.s.whenIdle(ctx, m.id, func(ctx context.Context) error {
		return m.s.change(ctx, m.id, "POST", instancePath(m.id)+"/snapshots",
			map[string]any{"name": s.name, "stateful": !m.s.container()})
	})
	if err != nil {
		return fmt.Errorf("%s: snapshot %q: %w", m.id, name, err)
	}
	m.snapshots[name] = s
	return nil
}

// Restore implements vm.Snapshotter. The server stops a container, puts its
// files back and starts it again.
func (m *machine) Restore(ctx context.Context, name string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", m.id, err)
	}
	defer give()
	s, ok := m.snapshots[name]
	if !ok {
		return fmt.Errorf("%s: snapshot %q: %w", m.id, name, fs.ErrNotExist)
	}
	m.line.Cut()
	if err := m.restore(ctx, s); err != nil {
		return fmt.Errorf("%s: restore %q: %w", m.id, name, err)
	}
	return nil
}

func (m *machine) restore(ctx context.Context, s saved) error {
	if err := m.thaw(ctx); err != nil {
		return err
	}
	err := m.s.whenIdle(ctx, m.id, func(ctx context.Context) error {
		return m.s.change(ctx, m.id, "PUT", instancePath(m.id), map[string]any{"restore": s.name, "stateful": !m.s.container()})
	})
	if err != nil && !initFailed(err) { // the files are back then: boot says what is wrong with them
		return err
	}
	m.unplugged = maps.Clone(s.unplugged) // the server has put the devices back too
	return m.boot(ctx)
}

// thaw lets a suspended machine go on: a frozen one cannot be stopped.
func (m *machine) thaw(ctx context.Context) error {
	st, err := m.s.state(ctx, m.id)
	if err != nil || st.Status != statusFrozen {
		return err
	}
	return m.s.set(ctx, m.id, "unfreeze", false)
}

// Fork implements vm.Forker: the server copies the snapshot.
func (m *machine) Fork(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	f, err := m.copy(ctx, name, spec)
	if err == nil {
		progress(spec, "booting")
		err = f.boot(ctx)
	}
	if err == nil {
		return f, nil
	}
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return nil, fmt.Errorf("incus: %s: fork of %q: %w", spec.Name, name, err)
}

// copy makes an instance of a snapshot, which does not run yet; it returns what
// there may be of it even with an error.
func (m *machine) copy(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.id, err)
	}
	defer give() // the fork has files of its own then
	s, ok := m.snapshots[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", m.id, fs.ErrNotExist)
	}
	f := m.d.machine(m.s, cli.Name(spec.Owner, spec.Name), spec.Dir)
	f.unplugged = maps.Clone(s.unplugged)
	err = m.s.change(ctx, f.id, "POST", "/1.0/instances", map[string]any{
		"name": f.id, "type": m.s.kind, "config": map[string]string{dirKey: f.dir}, "stateful": !m.s.container(),
		"source": map[string]any{"type": "copy", "source": m.id + "/" + s.name, "instance_only": true},
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, err // somebody else's
	}
	return f, err
}
