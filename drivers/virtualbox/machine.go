package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// Files in a machine's folder.
const (
	diskName = "disk.vdi"
	seedName = "seed.iso"
)

// How long things may take.
const (
	bootLimit    = 5 * time.Minute  // until the agent answers; the first boot runs cloud-init
	convertLimit = 10 * time.Minute // for an image's disk
)

// A machine is one virtual machine.
type machine struct {
	*cli.Port

	d    *driver
	name string // what VirtualBox calls it
	id   string // its UUID; "" until it is registered
	dir  string // spec.Dir, which goes with the machine
	home string // its files
	user *visit // nil: the machine is our own

	mu        sync.Mutex
	snapshots map[string]string // UUIDs, by the names that scripts gave
	suspended bool
}

// machine returns a machine that VirtualBox does not know yet.
func (d *driver) machine(name string, spec vm.Spec) *machine {
	m := &machine{d: d, name: name, dir: spec.Dir, home: d.place.Dir(name), snapshots: map[string]string{}}
	m.Port = cli.NewPort(driverName, name, m.alive)
	return m
}

// ID returns what VirtualBox calls the machine.
func (m *machine) ID() string { return m.name }

func (m *machine) path(file string) string { return filepath.Join(m.home, file) }

// boot starts the machine for the first time, and waits until it is ready.
func (m *machine) boot(ctx context.Context, spec vm.Spec) error {
	c, err := m.wake(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := cli.CloudInit(ctx, c); err != nil {
		return err
	}
	if spec.Disk > spec.Image.Size {
		return cli.Grow(ctx, c)
	}
	return nil
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

// start switches the machine on. Whether it runs, and for how long, the wait for
// the agent shows.
func (m *machine) start(ctx context.Context) error {
	if err := m.console().Save(); err != nil {
		return err
	}
	if err := m.ClearSocket(); err != nil {
		return err
	}
	r, err := m.d.run(ctx, "startvm", m.id, "--type", "headless")
	if err != nil && !startsAnyway(r) {
		return err
	}
	return nil
}

// wake starts the machine and waits until the agent answers.
func (m *machine) wake(ctx context.Context) (*guest.Client, error) {
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	return m.Await(ctx, m.Console, bootLimit)
}

// alive says why the machine does not run any more; nil if it does.
func (m *machine) alive(ctx context.Context) error {
	s, word, err := m.d.state(ctx, m.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("somebody removed the machine from VirtualBox: %w", err)
	case err != nil:
		return err
	case word == "aborted":
		return errors.New("VirtualBox's process of the machine ended (aborted)")
	case s == off:
		return &vm.StoppedError{How: "the guest shut itself down (" + word + ")"}
	case s == saved:
		return errors.New("somebody saved and stopped the machine (" + word + ")")
	case s == failed:
		return &vm.StoppedError{How: "the guest's processor is in guru meditation"}
	}
	return nil
}

// Close destroys the machine. While forks lie on its disks these stay, and go
// with the last fork. A machine that was adopted stays.
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

func (m *machine) console() cli.Console { return cli.Console{Dir: m.home} }
