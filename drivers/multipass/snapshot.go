package multipass

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// stopped does something to the instance while it is off, and starts it again
// whether that went well or not.
func (m *machine) stopped(ctx context.Context, do func(context.Context) error) error {
	m.Cut()
	if err := m.d.stop(ctx, m.id); err != nil {
		return errors.Join(err, m.start(ctx))
	}
	return errors.Join(do(ctx), m.start(ctx))
}

// start boots the instance, and gives it back its firewall.
func (m *machine) start(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil // nobody waits for it any more
	}
	if err := m.d.start(ctx, m.id); err != nil {
		return err
	}
	return m.Booted(ctx)
}

// Snapshot implements vm.Snapshotter. Multipass takes one of a stopped instance
// only, so the guest restarts. From a snapshot Multipass makes no instance, so
// that forks need a copy of it, and now is when it can be made.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	ctx, give, err := m.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	if _, taken := m.snapshots[name]; taken {
		return fmt.Errorf("snapshot %q: %w", name, fs.ErrExist)
	}
	m.taken++
	short := fmt.Sprintf("s%d", m.taken)
	s := snapshot{tag: cli.Name(m.Spec.Owner, short)}
	if _, lacks := m.host.lacks(vm.CapFork); !lacks {
		s.copy = cli.Name(copyOwner(m.Spec.Owner), m.Spec.Name+"-"+short)
	}
	return m.stopped(ctx, func(ctx context.Context) error {
		if err := m.save(ctx, s); err != nil {
			return errors.Join(err, m.drop(context.WithoutCancel(ctx), s))
		}
		m.snapshots[name] = s
		return nil
	})
}

// save takes a snapshot of the stopped instance, and a copy of the instance.
func (m *machine) save(ctx context.Context, s snapshot) error {
	_, err := m.d.run(ctx, "snapshot", m.id, "--name", s.tag, "--comment", "made by assay")
	if err == nil {
		err = m.d.has(ctx, m.id+"."+s.tag)
	}
	if err == nil && s.copy != "" {
		err = m.d.clone(ctx, m.id, s.copy)
	}
	return err
}

// drop removes what there is of a snapshot.
func (m *machine) drop(ctx context.Context, s snapshot) error {
	err := cli.Gone(m.d.destroy(ctx, m.id+"."+s.tag))
	if s.copy != "" {
		err = errors.Join(err, cli.Gone(m.d.destroy(ctx, s.copy)))
	}
	return err
}

// forget removes the snapshots of an instance that stays.
func (m *machine) forget(ctx context.Context) error {
	var problems []error
	for _, s := range m.snapshots {
		problems = append(problems, cli.Gone(m.d.destroy(ctx, m.id+"."+s.tag)))
	}
	return errors.Join(problems...)
}

// has returns nil if there is such a snapshot: INSTANCE.SNAPSHOT.
func (d *driver) has(ctx context.Context, snapshot string) error {
	all, err := d.snapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s == snapshot {
			return nil
		}
	}
	return fmt.Errorf("multipass said nothing, and there is no snapshot %s: %w", snapshot, cli.ErrFailed)
}

// clone copies a stopped instance.
func (d *driver) clone(ctx context.Context, from, to string) error {
	if _, err := d.do(ctx, cli.Call{Args: []string{"clone", from, "--name", to}, Limit: launchMax}); err != nil {
		return err
	}
	_, err := d.info(ctx, to)
	return err
}

// Restore implements vm.Snapshotter: the guest restarts.
func (m *machine) Restore(ctx context.Context, name string) error {
	ctx, give, err := m.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	s, found := m.snapshots[name]
	if !found {
		return fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	}
	return m.stopped(ctx, func(ctx context.Context) error {
		r, err := m.d.run(ctx, "restore", "--destructive", m.id+"."+s.tag)
		if err == nil && !strings.Contains(string(r.Stdout), "Snapshot restored") {
			err = fmt.Errorf("multipass restore: got %.200q, want \"Snapshot restored\"", r.Text())
		}
		return err
	})
}

// Fork implements vm.Forker.
func (m *machine) Fork(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	fork, err := m.fork(ctx, name, spec)
	if err != nil {
		return nil, cli.Failed(name, spec.Name, spec, err)
	}
	return fork, nil
}

func (m *machine) fork(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	ctx, give, err := m.Take(ctx)
	if err != nil {
		return nil, err
	}
	defer give()
	s, found := m.snapshots[name]
	switch {
	case !found:
		return nil, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	case s.copy == "":
		instead, _ := m.host.lacks(vm.CapFork)
		return nil, &vm.UnsupportedError{Machine: m.id, Want: "fork", Instead: instead}
	}
	spec.Network = m.Spec.Network
	if m.Found != "" {
		spec.Network.Mode = vm.NetworkOpen
	}
	fork := m.d.machine(m.host, cli.Name(spec.Owner, spec.Name), spec)
	err = m.d.clone(ctx, s.copy, fork.id)
	if errors.Is(err, fs.ErrExist) { // it is somebody else's
		return nil, err
	}
	if err == nil {
		err = m.d.start(ctx, fork.id)
	}
	if err == nil {
		err = fork.settle(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, fork.Close())
	}
	return fork, nil
}
