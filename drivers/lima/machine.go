package lima

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// A machine is one instance.
type machine struct {
	d    *driver
	host host // vmType is the instance's own
	id   string
	spec vm.Spec

	inside *cli.Inside
	turn   *cli.Turn

	// The rest belongs to whose turn it is.
	found     string // an adopted one's state before; "" if the instance is ours
	snapshots map[string]snapshot
	taken     int  // snapshots so far
	cut       bool // the cable is pulled
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
	m := &machine{d: d, host: h, id: id, spec: spec, turn: cli.NewTurn(), snapshots: map[string]snapshot{}}
	m.inside = &cli.Inside{Tool: d.inside, Args: []string{"shell", "--workdir", "/", id, "--"}, Agents: d.cfg.Agents, Why: m.why}
	return m
}

// ID implements vm.Machine.
func (m *machine) ID() string { return m.id }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	if m.found != "" && m.host.vmType != typeQEMU && (c == vm.CapSnapshot || c == vm.CapFork) {
		return "going back would replace a machine that is not assay's; compare captures instead", true
	}
	return m.host.lacks(c)
}

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Dial implements vm.Machine.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) { return m.inside.Dial(ctx) }

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
	return fmt.Errorf("instance %s: got status %q %q, want %q: %w", m.id, i.Status, i.Errors, stateRunning, cli.ErrState)
}

// open reports whether the machine has its network when the cable is plugged in.
// An adopted one has what its user gave it.
func (m *machine) open() bool { return m.found != "" || m.spec.Network.Mode == vm.NetworkOpen }

// start boots the instance. An adopted one's QEMU is its user's affair.
func (m *machine) start(ctx context.Context) error {
	var env []string
	if m.found == "" {
		var err error
		if env, err = m.d.environment(m.host, m.open()); err != nil {
			return err
		}
	}
	if err := m.d.start(ctx, m.id, env); err != nil {
		return err
	}
	return m.fence(ctx, false)
}

// settle makes a guest that has booted ready to be dialled.
func (m *machine) settle(ctx context.Context) error {
	if err := m.inside.Settle(ctx); err != nil {
		return err
	}
	return m.inside.Enter(ctx)
}

// fence puts a firewall up in the guest while its cable is pulled, and where
// nobody else keeps it from the network. It is taken down if it may be there.
func (m *machine) fence(ctx context.Context, down bool) error {
	on := m.cut || !m.open() && m.host.vmType != typeQEMU
	if !on && !down {
		return nil
	}
	return m.inside.Firewall(ctx, on)
}

// SetLink implements vm.Networker. The cable cannot be pulled, for the line goes
// over it: a firewall in the guest lets nothing else through.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return err
	}
	defer give()
	m.cut = !up
	return m.fence(ctx, true)
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
	u, err := cli.GuestUsage(ctx, m.inside)
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
		return nil, errors.Join(fmt.Errorf("lima: %s: %w", id, err), os.RemoveAll(spec.Dir))
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
	m.found = i.Status
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
func (m *machine) Close() error {
	m.inside.Close()
	first, give := m.turn.End()
	defer give()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeMax)
	defer cancel()
	var problems []error
	for _, s := range m.snapshots {
		if s.copy != "" {
			problems = append(problems, gone(m.d.destroy(ctx, s.copy)))
		}
	}
	if m.found != "" {
		problems = append(problems, m.leave(ctx))
	} else {
		problems = append(problems, gone(m.d.destroy(ctx, m.id)))
	}
	return errors.Join(append(problems, os.RemoveAll(m.spec.Dir))...)
}

// gone takes no offence at what is not there any more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// leave gives an adopted instance back as it was found.
func (m *machine) leave(ctx context.Context) error {
	i, err := m.d.info(ctx, m.id)
	if err != nil {
		return gone(err) // its owner took it away
	}
	if i.Status != stateRunning {
		err = m.start(ctx)
	}
	if err == nil && m.cut {
		m.cut = false
		err = m.fence(ctx, true)
	}
	if err == nil {
		err = cli.Leave(ctx, m.inside)
	}
	for _, s := range m.snapshots {
		err = errors.Join(err, gone(m.d.forget(ctx, m.id, s.tag)))
	}
	if m.found != stateRunning {
		err = errors.Join(err, m.d.stop(ctx, m.id))
	}
	return err
}
