package lima

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// A snapshot is what a name of the script's stands for.
type snapshot struct {
	tag  string // with QEMU: a snapshot in the instance's disk, with its memory
	copy string // else an instance that is never started
}

// Snapshot implements vm.Snapshotter: with QEMU the guest goes on, memory and
// all; else it is copied while it is off.
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
	m.Cut()
	var s snapshot
	if m.host.vmType == typeQEMU {
		s.tag = cli.Name(m.Spec.Owner, short)
		err = m.d.save(ctx, m.id, s.tag)
	} else {
		s.copy = cli.Name(copyOwner(m.Spec.Owner), m.Spec.Name+"-"+short)
		err = m.stopped(ctx, func(ctx context.Context) error { return m.d.clone(ctx, m.id, s.copy) })
	}
	if err != nil {
		return errors.Join(err, m.drop(s))
	}
	m.snapshots[name] = s
	return nil
}

// drop removes what there is of a snapshot that failed.
func (m *machine) drop(s snapshot) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	if s.copy != "" {
		return cli.Gone(m.d.destroy(ctx, s.copy))
	}
	return cli.Gone(m.d.forget(ctx, m.id, s.tag))
}

// stopped does something to the instance while it is off, and starts it again
// whether that went well or not.
func (m *machine) stopped(ctx context.Context, do func(context.Context) error) error {
	err := m.d.stop(ctx, m.id)
	if err == nil {
		err = do(ctx)
	}
	if ctx.Err() != nil {
		return err // nobody waits for it any more
	}
	return errors.Join(err, m.start(ctx))
}

// tags lists the snapshots in an instance's disk.
func (d *driver) tags(ctx context.Context, id string) ([]string, error) {
	r, err := d.run(ctx, "snapshot", "list", id, "--quiet")
	return strings.Fields(string(r.Stdout)), err
}

// save takes a snapshot of a running instance. Lima is content whatever QEMU says
// to that, so the list is asked.
func (d *driver) save(ctx context.Context, id, tag string) error {
	if _, err := d.run(ctx, "snapshot", "create", id, "--tag", tag); err != nil {
		return err
	}
	return d.has(ctx, id, tag)
}

// has returns nil if there is such a snapshot.
func (d *driver) has(ctx context.Context, id, tag string) error {
	tags, err := d.tags(ctx, id)
	if err == nil && !slices.Contains(tags, tag) {
		err = fmt.Errorf("instance %s: got no snapshot %s, but %q: %w", id, tag, tags, fs.ErrNotExist)
	}
	return err
}

// forget removes a snapshot from an instance's disk.
func (d *driver) forget(ctx context.Context, id, tag string) error {
	if tag == "" {
		return nil
	}
	if err := d.has(ctx, id, tag); err != nil {
		return err
	}
	_, err := d.run(ctx, "snapshot", "delete", id, "--tag", tag)
	return err
}

// clone copies a stopped instance.
func (d *driver) clone(ctx context.Context, from, to string) error {
	if _, err := d.do(ctx, cli.Call{Args: []string{"clone", from, to, "--start=false", "--tty=false"}, Limit: createMax}); err != nil {
		return err
	}
	return d.in(ctx, to, stateStopped)
}

// Restore implements vm.Snapshotter.
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
	m.Cut()
	if s.copy == "" {
		return m.apply(ctx, s.tag)
	}
	return m.stopped(ctx, func(ctx context.Context) error {
		if err := m.d.destroy(ctx, m.id); err != nil {
			return err
		}
		return m.d.clone(ctx, s.copy, m.id)
	})
}

// apply goes back to a snapshot with memory. One that QEMU refuses leaves the
// guest standing still for ever, so that it must be there, and the guest is
// started anew if it fails all the same.
func (m *machine) apply(ctx context.Context, tag string) error {
	if err := m.why(ctx); err != nil {
		if err := m.start(ctx); err != nil { // a snapshot with memory needs a machine that runs
			return err
		}
	}
	if err := m.d.has(ctx, m.id, tag); err != nil {
		return err
	}
	if _, err := m.d.run(ctx, "snapshot", "apply", m.id, "--tag", tag); err != nil {
		return errors.Join(err, m.revive(ctx))
	}
	if err := m.reconnect(ctx); err != nil {
		return err
	}
	return m.Fence(ctx) // as it is now, not as it was then
}

// revive starts an instance that stands still.
func (m *machine) revive(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	_, err := m.d.run(ctx, "stop", "-f", m.id)
	return errors.Join(err, m.start(ctx))
}

// reconnectMax is for Limas without --reconnect, whose ssh takes its time to see
// that the other end forgot it.
const reconnectMax = 3 * time.Minute

// reconnect makes Lima's shared ssh connection anew: the one that there is the
// guest does not remember.
func (m *machine) reconnect(ctx context.Context) error {
	_, err := m.d.inside.Do(ctx, cli.Call{Args: []string{"shell", "--reconnect", "--workdir", "/", m.id, "--", "true"}, Limit: reconnectMax})
	if err == nil || ctx.Err() != nil {
		return err
	}
	_, err = m.d.inside.Do(ctx, cli.Call{Args: []string{"shell", "--workdir", "/", m.id, "--", "true"}, Limit: reconnectMax})
	return err
}

// Fork implements vm.Forker, where snapshots are copies.
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
	if !found {
		return nil, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	}
	if s.copy == "" {
		instead, _ := m.Lacks(vm.CapFork)
		return nil, &vm.UnsupportedError{Machine: m.id, Want: "fork", Instead: instead}
	}
	spec.Network = m.Spec.Network
	fork := m.d.machine(m.host, cli.Name(spec.Owner, spec.Name), spec)
	err = m.d.clone(ctx, s.copy, fork.id)
	if errors.Is(err, fs.ErrExist) { // it is somebody else's
		return nil, err
	}
	if err == nil {
		err = fork.start(ctx)
	}
	if err == nil {
		err = fork.settle(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, fork.Close())
	}
	return fork, nil
}

// sweepSnapshots removes the snapshots that an owner left in instances that were
// not its own.
func (d *driver) sweepSnapshots(ctx context.Context, owner string, all []instance) error {
	var problems []error
	for _, i := range all {
		if i.Type != typeQEMU || cli.Ours(i.Name) {
			continue
		}
		tags, err := d.tags(ctx, i.Name)
		problems = append(problems, cli.Gone(err))
		for _, tag := range tags {
			if cli.Owned(owner, tag) {
				problems = append(problems, cli.Gone(d.forget(ctx, i.Name, tag)))
			}
		}
	}
	return errors.Join(problems...)
}
