package parallels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

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
	d      *driver
	spec   vm.Spec
	name   string // in Parallels
	uuid   string // "" until it is there
	socket string // of its serial port; "": its line is a command in the guest
	found  string // the state that an adopted machine was in; "": we made it
	inside bool   // the agent was put into an adopted machine
	cards  []string
	loan   *loan // what lies on snapshots of a machine of the user's

	turn *cli.Turn
	line cli.Line

	mu    sync.Mutex
	saved map[string]string // ids of the snapshots, by the script's names
	down  bool              // the network cable is pulled
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
	return cli.Await(ctx, cli.Boot{Dial: m.connect, Alive: m.alive, Console: m.readConsole, Limit: m.d.boot})
}

// maxConsole bounds what is read of a console's file.
const maxConsole = 64 << 10

func (m *machine) readConsole() ([]byte, error) { return cli.ReadTail(m.console(), maxConsole) }

// alive says why nobody will answer: the guest has ended the machine, or somebody
// else has.
func (m *machine) alive(ctx context.Context) error {
	e, err := m.d.find(ctx, m.uuid)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("parallels: %s was deleted: %w", m.name, err)
	case err == nil && e.Status == stopped:
		return &vm.StoppedError{How: "the guest shut itself down (Parallels says " + stopped + ")"}
	}
	return nil // not known, or well
}

// Dial implements vm.Machine.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, m.wrap("dial", err)
	}
	defer give()
	m.line.Cut() // a serial port serves one at a time
	conn, err := m.connect(ctx)
	if err != nil {
		return nil, m.wrap("dial", err)
	}
	return m.line.Take(cli.Explained(conn, m.alive))
}

// connect opens a line.
func (m *machine) connect(ctx context.Context) (net.Conn, error) {
	if m.socket != "" {
		var d net.Dialer
		return d.DialContext(ctx, "unix", m.socket)
	}
	return m.d.ctl.Stream(ctx, "exec", m.uuid, quote([]string{cli.AgentPath, "stdio"}))
}

// wrap says whose error it is.
func (m *machine) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("parallels: %s: %s: %w", m.name, what, err)
}

// closeLimit bounds the end of a machine.
const closeLimit = 10 * time.Minute

// Close implements vm.Machine. Forks lie on the disks of the machine that they
// came from, which therefore stay until the last of them is closed.
func (m *machine) Close() error {
	first, give := m.turn.End()
	defer give()
	m.line.Close()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return m.wrap("close", errors.Join(m.end(ctx), m.loan.drop(ctx), os.RemoveAll(m.spec.Dir)))
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
