package utm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

var (
	_ vm.Machine           = (*machine)(nil)
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
	_ vm.Limited           = (*machine)(nil)
)

// A machine is one virtual machine of UTM's.
type machine struct {
	*cli.Port
	d       *driver
	version version
	spec    vm.Spec
	name    string // in UTM
	id      string // "" until it is there
	port    string // of the line
	console console
	tools   bool // the agent comes by the guest agent of QEMU, not from a seed disk
	adopted bool
	inside  bool // the agent was put in
	saved   cli.Saved
}

func (d *driver) machine(v version, name string, spec vm.Spec) *machine {
	m := &machine{d: d, version: v, spec: spec, name: name}
	m.Port = cli.NewPort(d.Name(), name, m.alive)
	m.Connect = m.connect
	return m
}

// ID returns UTM's UUID of the machine.
func (m *machine) ID() string { return m.id }

func (m *machine) dir() string  { return m.d.place.Dir(m.name) }
func (m *machine) seed() string { return filepath.Join(m.dir(), "seed.iso") }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	switch c {
	case vm.CapSnapshot, vm.CapMemory:
		if !m.version.atLeast(snapshots) {
			return fmt.Sprintf("UTM %s has no snapshots that a command could take, %s has; launch the image again, and compare captures, which work everywhere", m.version, snapshots), true
		}
	}
	return "", false
}

// begin starts a machine that is made, and waits until its agent can be dialled.
func (m *machine) begin(ctx context.Context) error {
	progress(m.spec, "booting")
	if err := m.d.start(ctx, m.id); err != nil {
		return err
	}
	m.console.follow()
	if m.tools {
		if err := m.enter(ctx); err != nil {
			return err
		}
	}
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if m.tools {
		return nil
	}
	return cli.CloudInit(ctx, c)
}

// await waits until the agent answers.
func (m *machine) await(ctx context.Context) (*guest.Client, error) {
	return m.Port.Await(ctx, m.Console, m.d.boot)
}

// ready waits until the line can be dialled.
func (m *machine) ready(ctx context.Context) error {
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// connect opens a line.
func (m *machine) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(loopback, m.port))
}

// Close implements vm.Machine.
func (m *machine) Close() error {
	defer m.console.close()
	return m.End(m.spec.Dir, m.end)
}

// end takes the machine away, or gives it back.
func (m *machine) end(ctx context.Context) error {
	if m.adopted {
		return m.giveBack(ctx)
	}
	if err := m.d.remove(ctx, m.name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // somebody swept it
}
