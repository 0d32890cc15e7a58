package utm

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
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
	_ vm.Limited           = (*machine)(nil)
)

// A machine is one virtual machine of UTM's.
type machine struct {
	d       *driver
	version version
	spec    vm.Spec
	name    string // in UTM
	id      string // "" until it is there
	port    string // of the line
	console console
	tools   bool // the agent comes by the guest agent of QEMU, not from a seed disk
	adopted bool
	lined   bool // an adopted machine was given a line
	inside  bool // and an agent

	turn *cli.Turn
	line cli.Line

	mu    sync.Mutex
	saved map[string]string // ids of the snapshots, by the script's names
}

func (d *driver) machine(v version, name string, spec vm.Spec) *machine {
	return &machine{d: d, version: v, spec: spec, name: name, turn: cli.NewTurn(), saved: map[string]string{}}
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
	return cli.Await(ctx, cli.Boot{Dial: m.connect, Alive: m.alive, Console: m.Console, Limit: m.d.boot})
}

// ready waits until the line can be dialled.
func (m *machine) ready(ctx context.Context) error {
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// Dial implements vm.Machine.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, m.wrap("dial", err)
	}
	defer give()
	m.line.Cut() // the port serves one at a time
	conn, err := m.connect(ctx)
	if err != nil {
		return nil, m.wrap("dial", errors.Join(err, m.alive(ctx)))
	}
	return m.line.Take(cli.Explained(conn, m.alive))
}

// connect opens a line.
func (m *machine) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(loopback, m.port))
}

// wrap says whose error it is.
func (m *machine) wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("utm: %s: %s: %w", m.name, what, err)
}

// closeLimit bounds the end of a machine.
const closeLimit = 10 * time.Minute

// Close implements vm.Machine.
func (m *machine) Close() error {
	first, give := m.turn.End()
	defer give()
	m.line.Close()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := m.end(ctx)
	m.console.close()
	return m.wrap("close", errors.Join(err, os.RemoveAll(m.spec.Dir)))
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
