package vmware

import (
	"context"
	"crypto/rand"
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
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Forker            = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Screenshotter     = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
	_ vm.Limited           = (*machine)(nil)
)

// How long things may take.
const (
	bootLimit  = 5 * time.Minute  // until the agent answers; the first boot runs cloud-init
	closeLimit = 50 * time.Second // the engine waits a little longer
)

// A machine is one virtual machine.
type machine struct {
	d        *driver
	p        *product
	name     string
	vmx      string // by which vmrun knows it
	dir      string // spec.Dir, which goes with the machine
	home     string // its files
	user     *visit // nil: the machine is our own
	socket   string
	password string // of the guest's test user
	open     bool   // it has a network

	turn *cli.Turn
	line cli.Line

	mu        sync.Mutex
	snapshots map[string]string // VMware's names, by the names that scripts gave
	suspended bool
}

// machine returns a machine that has no files yet.
func (d *driver) machine(p *product, name string, spec vm.Spec) *machine {
	return &machine{
		d: d, p: p, name: name, vmx: d.vmx(name), dir: spec.Dir, home: d.place.Dir(name), password: rand.Text(),
		open: spec.Network.Mode == vm.NetworkOpen, turn: cli.NewTurn(), snapshots: map[string]string{},
	}
}

// ID returns what the machine is called in VMware's windows.
func (m *machine) ID() string { return m.name }

func (m *machine) path(file string) string { return filepath.Join(m.home, file) }
func (m *machine) console() cli.Console    { return cli.Console{Dir: m.home} }

// failed says which machine an error is about.
func (m *machine) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %s: %w", name, m.name, what, err)
}

// boot starts the machine for the first time, and waits until it is ready.
func (m *machine) boot(ctx context.Context) error {
	c, err := m.wake(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := cli.CloudInit(ctx, c); err != nil {
		return err
	}
	return cli.Grow(ctx, c)
}

// run starts the machine, or lets it run on from its saved memory, and waits for
// the agent.
func (m *machine) run(ctx context.Context) error {
	c, err := m.wake(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// wake starts the machine and waits until the agent answers.
func (m *machine) wake(ctx context.Context) (*guest.Client, error) {
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m.await(ctx)
}

// await waits until the agent answers.
func (m *machine) await(ctx context.Context) (*guest.Client, error) {
	return cli.Await(ctx, cli.Boot{Dial: m.dial, Alive: m.alive, Console: m.Console, Limit: bootLimit})
}

// start switches the machine on, if it is not. Whether it runs, and for how long,
// the wait for the agent shows.
func (m *machine) start(ctx context.Context) error {
	on, err := m.p.runs(ctx, m.vmx)
	if err != nil || on {
		return err
	}
	if err := m.console().Save(); err != nil {
		return err
	}
	if err := os.Remove(m.socket); err != nil && !errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(m.socket) {
		return err // VMware would not listen there
	}
	_, err = m.p.run(ctx, "start", m.vmx, "nogui")
	return err
}

// alive says why the machine does not run any more; nil if it does.
func (m *machine) alive(ctx context.Context) error {
	on, err := m.p.runs(ctx, m.vmx)
	if err != nil || on {
		return err
	}
	if _, err := os.Stat(m.vmx); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("somebody deleted the machine: %w", err)
	}
	if saved, _ := filepath.Glob(filepath.Join(filepath.Dir(m.vmx), "*.vmss")); len(saved) > 0 {
		return errors.New("somebody suspended the machine")
	}
	return &vm.StoppedError{How: "the guest shut itself down"}
}

// Dial opens the line to the agent and cuts the earlier one.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, m.failed("dial", err)
	}
	defer give()
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, m.failed("dial", errors.Join(m.alive(ctx), err))
	}
	return conn, nil
}

// dial is Dial for those who have the turn. The port has one listener, which
// takes one caller at a time: the earlier must go first.
func (m *machine) dial(ctx context.Context) (net.Conn, error) {
	m.line.Cut()
	conn, err := cli.DialPipe(ctx, m.socket)
	if err != nil {
		return nil, err
	}
	return m.line.Take(cli.Explained(conn, m.alive))
}

// Close destroys the machine.
func (m *machine) Close() error {
	first, give := m.turn.End()
	defer give()
	m.line.Close()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var err error
	if m.user != nil {
		err = m.leave(ctx)
	} else if err = m.d.remove(ctx, m.name); errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody was first
	}
	return errors.Join(m.failed("close", err), os.RemoveAll(m.dir))
}

// Console returns the last MiB of what the guest printed, over all starts.
func (m *machine) Console() ([]byte, error) { return m.console().Read() }
