package lima

import (
	"context"
	"errors"
	"fmt"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// A machine is one instance.
type machine struct {
	d    *driver
	host host // vmType is the instance's own
	id   string
	cli.Visit

	// What follows belongs to whose turn it is.
	snapshots map[string]snapshot
	taken     int // snapshots so far
}

var (
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Forker            = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
	_ vm.Limited           = (*machine)(nil)
	_ vm.Adopter           = (*driver)(nil)
	_ vm.Catalog           = (*driver)(nil)
	_ vm.Carder            = (*driver)(nil)
)

// machine returns the machine that an instance is.
func (d *driver) machine(h host, id string, spec vm.Spec) *machine {
	m := &machine{d: d, host: h, id: id, snapshots: map[string]snapshot{}}
	inside := &cli.Inside{Tool: d.inside, Args: []string{"shell", "--workdir", "/", id, "--"}, Agents: d.cfg.Agents, Why: m.why}
	m.Visit = cli.Visit{Inside: inside, Turn: cli.NewTurn(), Spec: spec, Kept: h.vmType == typeQEMU}
	return m
}

// ID implements vm.Machine.
func (m *machine) ID() string { return m.id }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	if m.Found != "" && m.host.vmType != typeQEMU && (c == vm.CapSnapshot || c == vm.CapFork) {
		return "going back would replace a machine that is not assay's; compare captures instead", true
	}
	return m.host.lacks(c)
}

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// why says why the guest does not run; nil if it does.
func (m *machine) why(ctx context.Context) error {
	i, err := m.d.info(ctx, m.id)
	switch {
	case err != nil:
		return err
	case i.Status == stateRunning:
		return nil
	case i.Status == stateStopped:
		return &vm.StoppedError{How: "the guest shut itself down (Lima says Stopped)"}
	}
	return fmt.Errorf("instance %s: got status %q %v, want %q: %w", m.id, i.Status, i.Errors, stateRunning, cli.ErrState)
}

// start boots the instance. An adopted one's QEMU is its user's affair.
func (m *machine) start(ctx context.Context) error {
	var env []string
	if m.Found == "" {
		var err error
		if env, err = m.d.environment(m.host, m.Open()); err != nil {
			return err
		}
	}
	if err := m.d.start(ctx, m.id, env); err != nil {
		return err
	}
	return m.Booted(ctx)
}

// settle makes a guest that has booted ready to be dialled.
func (m *machine) settle(ctx context.Context) error {
	if err := m.Inside.Settle(ctx); err != nil {
		return err
	}
	return m.Enter(ctx)
}

// Console implements vm.Consoler.
func (m *machine) Console() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	i, err := m.d.info(ctx, m.id)
	if err != nil {
		return nil, err
	}
	return console(i.Dir, consoleTail)
}

// Usage implements vm.Usager: memory and time in the guest's own words, the disk
// as the host sees it.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	i, err := m.d.info(ctx, m.id)
	if err != nil {
		return vm.Usage{}, err
	}
	u, err := cli.GuestUsage(ctx, m.Inside)
	if err != nil {
		return u, err
	}
	u.Disk, err = cli.Occupied(i.Dir)
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
	h.vmType = i.Type
	m := d.machine(h, id, spec)
	m.Found = i.Status
	if i.Status != stateRunning {
		err = m.start(ctx)
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
	if i.Status != stateRunning {
		err = m.start(ctx)
	}
	if err == nil {
		err = m.Leave(ctx)
	}
	for _, s := range m.snapshots {
		err = errors.Join(err, cli.Gone(m.d.forget(ctx, m.id, s.tag)))
	}
	if m.Found != stateRunning {
		err = errors.Join(err, m.d.stop(ctx, m.id))
	}
	return err
}
