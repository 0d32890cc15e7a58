package parallels

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
	_ vm.ColdForker        = (*machine)(nil)
	_ vm.Screenshotter     = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
)

// A machine is one virtual machine of Parallels.
type machine struct {
	*cli.Port
	d      *driver
	spec   vm.Spec
	name   string // in Parallels
	uuid   string // "" until it is there
	socket string // of its serial port; "": its line is a command in the guest
	found  string // the state that an adopted machine was in; "": we made it
	inside bool   // the agent was put into it by Parallels Tools
	loan   *loan  // what lies on snapshots of a machine of the user's
	saved  cli.Saved

	cards []string // that have a network; below, only with the turn
	down  bool     // their cables are pulled
}

func (d *driver) machine(name string, spec vm.Spec) *machine {
	m := &machine{d: d, spec: spec, name: name}
	m.Port = cli.NewPort(d.Name(), name, m.alive)
	m.Connect = m.connect
	return m
}

// ID returns Parallels' UUID of the machine.
func (m *machine) ID() string { return m.uuid }

func (m *machine) dir() string     { return m.d.place.Dir(m.name) }
func (m *machine) seed() string    { return filepath.Join(m.dir(), "seed.iso") }
func (m *machine) console() string { return filepath.Join(m.dir(), "console.log") }

// begin starts a machine that is made, and waits until its agent can be dialled.
func (m *machine) begin(ctx context.Context) error {
	progress(m.spec, "booting")
	if err := m.d.start(ctx, m.uuid); err != nil {
		return err
	}
	if m.socket == "" {
		if err := m.ready(ctx); err != nil {
			return err
		}
		return m.enter(ctx)
	}
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return cli.CloudInit(ctx, c)
}

// enter puts the agent in, where Parallels Tools are the way.
func (m *machine) enter(ctx context.Context) error {
	m.inside = true
	return cli.Enter(ctx, tools{m}, m.d.agents)
}

// ready waits until the guest answers on the way that the line takes.
func (m *machine) ready(ctx context.Context) error {
	if m.socket == "" {
		return tools{m}.wait(ctx)
	}
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// await waits until an agent answers on the serial port.
func (m *machine) await(ctx context.Context) (*guest.Client, error) {
	return m.Port.Await(ctx, m.readConsole, m.d.boot)
}

// maxConsole bounds what is read of a console's file.
const maxConsole = 64 << 10

func (m *machine) readConsole() ([]byte, error) { return cli.ReadTail(m.console(), maxConsole) }

// alive says why nobody will answer: the guest has ended the machine, or somebody
// else has.
func (m *machine) alive(ctx context.Context) error {
	l, err := m.d.find(ctx, m.uuid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("it was deleted: %w", err)
	case err == nil && l.State == stopped:
		return &vm.StoppedError{How: "the guest shut itself down (Parallels says " + stopped + ")"}
	}
	return nil // not known, or well
}

// connect opens a line.
func (m *machine) connect(ctx context.Context) (net.Conn, error) {
	if m.socket != "" {
		var d net.Dialer
		return d.DialContext(ctx, "unix", m.socket)
	}
	return m.d.ctl.Stream(ctx, "exec", m.uuid, quote([]string{cli.AgentPath, "stdio"}))
}

// Close implements vm.Machine. Forks lie on the disks of the machine that they
// came from, which therefore stay until the last of them is closed.
func (m *machine) Close() error {
	return m.End(m.spec.Dir, func(ctx context.Context) error {
		return errors.Join(m.end(ctx), m.loan.drop(ctx))
	})
}

// end takes the machine away, or gives it back.
func (m *machine) end(ctx context.Context) error {
	if m.found != "" {
		return m.giveBack(ctx)
	}
	if err := m.d.remove(ctx, m.name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // somebody swept it
}
