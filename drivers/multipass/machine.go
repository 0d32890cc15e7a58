package multipass

import (
	"context"
	"errors"
	"fmt"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// closeMax bounds the end of a machine, whatever its caller's context says.
const closeMax = 3 * time.Minute

// A machine is one instance.
type machine struct {
	d    *driver
	host host
	id   string
	cli.Visit

	// What follows belongs to whose turn it is.
	snapshots map[string]snapshot
	taken     int // snapshots so far
}

// A snapshot is what a name of the script's stands for.
type snapshot struct {
	tag  string // Multipass's snapshot of the instance
	copy string // an instance that is never started, from which forks are made; empty: this Multipass makes none
}

var (
	_ vm.Snapshotter = (*machine)(nil)
	_ vm.Forker      = (*machine)(nil)
	_ vm.Networker   = (*machine)(nil)
	_ vm.Suspender   = (*machine)(nil)
	_ vm.Usager      = (*machine)(nil)
	_ vm.Limited     = (*machine)(nil)
	_ vm.Adopter     = (*driver)(nil)
	_ vm.Catalog     = (*driver)(nil)
	_ vm.Carder      = (*driver)(nil)
)

// machine returns the machine that an instance is.
func (d *driver) machine(h host, id string, spec vm.Spec) *machine {
	m := &machine{d: d, host: h, id: id, snapshots: map[string]snapshot{}}
	args := []string{"exec", id}
	if h.version.AtLeast(1, 10) {
		args = append(args, "-n") // or it asks for mounts first
	}
	inside := &cli.Inside{Tool: d.inside, Args: append(args, "--"), Agents: d.cfg.Agents, Why: m.why}
	m.Visit = cli.Visit{Inside: inside, Turn: cli.NewTurn(), Spec: spec}
	return m
}

// ID implements vm.Machine.
func (m *machine) ID() string { return m.id }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) { return m.host.lacks(c) }

// why says why the guest does not run; nil if it does.
func (m *machine) why(ctx context.Context) error {
	i, err := m.d.info(ctx, m.id)
	switch {
	case err != nil:
		return err
	case i.State == stateRunning:
		return nil
	case i.State == stateStopped:
		return &vm.StoppedError{How: "the guest shut itself down (Multipass says Stopped)"}
	}
	return fmt.Errorf("instance %s: got state %q, want %q: %w", m.id, i.State, stateRunning, cli.ErrState)
}

// settle makes a guest that has booted ready to be dialled.
func (m *machine) settle(ctx context.Context) error {
	if err := m.Inside.Settle(ctx); err != nil {
		return err
	}
	if err := m.Enter(ctx); err != nil {
		return err
	}
	return m.Booted(ctx)
}

// Suspend implements vm.Suspender: to the host's disk.
func (m *machine) Suspend(ctx context.Context) error {
	ctx, give, err := m.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	if _, err := m.d.run(ctx, "suspend", m.id); err != nil {
		return err
	}
	return m.d.in(ctx, m.id, stateSuspended)
}

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error {
	ctx, give, err := m.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	return m.d.start(ctx, m.id)
}

// Usage implements vm.Usager, in the guest's own words: Multipass knows what its
// file systems hold, and not what it costs the host.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	i, err := m.d.info(ctx, m.id)
	if err != nil {
		return vm.Usage{}, err
	}
	u, err := cli.GuestUsage(ctx, m.Inside)
	u.Disk = i.used()
	return u, err
}

// Adopt implements vm.Adopter.
func (d *driver) Adopt(ctx context.Context, id string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, id, spec)
	if err != nil {
		return nil, cli.Failed(name, id, spec, err)
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, id string, spec vm.Spec) (*machine, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, err
	}
	i, err := d.info(ctx, id)
	if err != nil {
		return nil, err
	}
	m := d.machine(h, id, spec)
	m.Found = i.State
	if i.State != stateRunning {
		err = d.start(ctx, id)
	}
	if err == nil {
		err = m.settle(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Close implements vm.Machine.
func (m *machine) Close() error { return m.Finish(closeMax, m.undo) }

// undo destroys what is ours, and gives back what is not.
func (m *machine) undo(ctx context.Context) error {
	var problems []error
	for _, s := range m.snapshots {
		if s.copy != "" {
			problems = append(problems, cli.Gone(m.d.destroy(ctx, s.copy)))
		}
	}
	if m.Found != "" {
		return errors.Join(append(problems, m.giveBack(ctx))...)
	}
	return errors.Join(append(problems, cli.Gone(m.d.destroy(ctx, m.id)))...)
}

// giveBack gives an adopted instance back as it was found.
func (m *machine) giveBack(ctx context.Context) error {
	i, err := m.d.info(ctx, m.id)
	if err != nil {
		return cli.Gone(err) // its owner took it away
	}
	if i.State != stateRunning {
		err = m.d.start(ctx, m.id)
	}
	if err == nil {
		err = m.Leave(ctx)
	}
	if len(m.snapshots) > 0 {
		err = errors.Join(err, m.d.stop(ctx, m.id), m.forget(ctx), m.d.start(ctx, m.id))
	}
	switch m.Found {
	case stateRunning:
		return err
	case stateSuspended:
		_, suspend := m.d.run(ctx, "suspend", m.id)
		return errors.Join(err, suspend)
	}
	return errors.Join(err, m.d.stop(ctx, m.id))
}
