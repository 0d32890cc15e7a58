package vmware

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
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

// bootLimit is how long the agent may take to answer; the first boot runs
// cloud-init.
const bootLimit = 5 * time.Minute

// A machine is one virtual machine.
type machine struct {
	*cli.Port

	d        *driver
	p        *product
	name     string
	vmx      string // by which vmrun knows it
	dir      string // spec.Dir, which goes with the machine
	home     string // its files
	user     *visit // nil: the machine is our own
	password string // of the guest's test user
	open     bool   // it has a network

	mu        sync.Mutex
	snapshots map[string]string // VMware's names, by the names that scripts gave
	suspended bool
}

// machine returns a machine that has no files yet.
func (d *driver) machine(p *product, name string, spec vm.Spec) *machine {
	m := &machine{
		d: d, p: p, name: name, vmx: d.vmx(name), dir: spec.Dir, home: d.place.Dir(name), password: rand.Text(),
		open: spec.Network.Mode == vm.NetworkOpen, snapshots: map[string]string{},
	}
	m.Port = cli.NewPort(driverName, name, m.alive)
	return m
}

// ID returns what the machine is called in VMware's windows.
func (m *machine) ID() string { return m.name }

func (m *machine) path(file string) string { return filepath.Join(m.home, file) }
func (m *machine) console() cli.Console    { return cli.Console{Dir: m.home} }

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
	return m.Await(ctx, m.Console, bootLimit)
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
	if err := m.ClearSocket(); err != nil {
		return err
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

// Close destroys the machine. One that was adopted stays.
func (m *machine) Close() error {
	return m.End(m.dir, func(ctx context.Context) error {
		if m.user != nil {
			return m.leave(ctx)
		}
		return m.d.remove(ctx, m.name)
	})
}

// Console returns the last MiB of what the guest printed, over all starts.
func (m *machine) Console() ([]byte, error) { return m.console().Read() }
