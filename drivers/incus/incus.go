// Package incus launches machines with Incus, or with LXD, from which it was
// forked and which answers alike.
//
// Where the server can run virtual machines, machines are that; elsewhere they
// are unprivileged containers, which share the host's kernel: what they lack for
// that, they say. $ASSAY_INCUS_TYPE (container, virtual-machine) chooses.
//
// It knows the commands incus and lxc: their query for all that the server's API
// can do, their exec, which is the line to the agent, and their import of images.
// It does not know what the bytes on the line mean.
package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

const driverName = "incus"

// typeEnv chooses what machines are.
const typeEnv = "ASSAY_INCUS_TYPE"

// driver implements vm.Driver.
type driver struct {
	cfg   cli.Config
	tools []*cli.Tool // the first whose server answers is used

	patience time.Duration // with a guest that boots; 0: as its kind deserves

	mu    sync.Mutex
	known *server // the one that answered last

	imports sync.Mutex // one image at a time: each takes gigabytes of the host's disk
}

var (
	_ vm.Driver  = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
	_ vm.Catalog = (*driver)(nil)
	_ vm.Adopter = (*driver)(nil)
	_ vm.Trimmer = (*driver)(nil)
)

// New returns the driver.
func New(cfg cli.Config) vm.Driver {
	return &driver{cfg: cfg, tools: []*cli.Tool{
		{Driver: driverName, Name: "incus", Errors: meanings("incus", "incus-admin"), Fix: "apt-get install incus-base"},
		{Driver: driverName, Name: "lxc", Errors: meanings("lxd", "lxd"), Fix: "apt-get install lxd", Places: []string{"/snap/bin/lxc"}},
	}}
}

// Name returns "incus".
func (d *driver) Name() string { return driverName }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "Incus, LXD", Tool: "incus", Variable: cli.Variable("incus"), Builds: "containers", Systems: []string{"linux"},
		Met: []string{"Incus 6.0.4, containers", "LXD 5.0.2, containers"},
		Capabilities: []vm.Capability{
			vm.CapSnapshot, vm.CapMemory, vm.CapFork, vm.CapConsole, vm.CapNetwork, vm.CapSuspend, vm.CapUsage,
		},
		Instead: map[vm.Capability]string{
			vm.CapScreenshot: "containers have no display; of a virtual machine, look at \"incus console --type=vga\"",
			vm.CapDisk:       "captures are taken by the agent in the guest",
		},
		Isolation: vm.IsolationHost,
	}
}

// Probe implements vm.Driver.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	s, err := d.ask(ctx)
	if err != nil {
		return vm.Info{}, err
	}
	if _, err := s.pool(ctx); err != nil {
		return vm.Info{}, err
	}
	info := vm.Info{Version: s.version, Accel: "kvm", Capabilities: vm.Of(&machine{s: s}), Lacks: vm.Lacking(&machine{s: s})}
	if s.container() {
		info.Accel, info.Detail = "container", "machines are containers, which share the host's kernel: "+s.why
	}
	return info, nil
}

// Launch implements vm.Driver.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		if m != nil {
			err = errors.Join(err, m.Close())
		}
		return nil, fmt.Errorf("incus: %s: %w", spec.Name, err)
	}
	return m, nil
}

// launch returns what there is of the machine even with an error.
func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	s, err := d.server(ctx)
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(ctx, spec)
	if errors.Is(err, cli.ErrDaemon) {
		return nil, unavailable(s.tool, err)
	}
	if err != nil {
		return nil, err
	}
	source, err := d.source(ctx, s, spec)
	if err != nil {
		return nil, err
	}
	m := d.machine(s, cli.Name(spec.Owner, spec.Name), spec.Dir)
	progress(spec, "creating")
	if err := s.create(ctx, m.id, plan, source); errors.Is(err, fs.ErrExist) {
		return nil, err // somebody else's
	} else if err != nil {
		return m, err
	}
	progress(spec, "booting")
	return m, m.boot(ctx)
}

func progress(spec vm.Spec, phase string) {
	if spec.Progress != nil {
		spec.Progress(phase)
	}
}

// machine returns a handle of an instance that may not be there yet. dir is
// removed with it.
func (d *driver) machine(s *server, id, dir string) *machine {
	if dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			dir = abs
		}
	}
	return &machine{d: d, s: s, id: id, dir: dir, turn: cli.NewTurn(), snapshots: map[string]saved{}}
}

// Sweep implements vm.Driver. Who cannot use a server has left nothing on it.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	s, err := d.server(ctx)
	if errors.Is(err, cli.ErrNotInstalled) || errors.Is(err, fs.ErrPermission) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return cli.Sweep(ctx, owner, s.names, func(ctx context.Context, name string) error {
		dir, err := s.dirOf(ctx, name)
		if err != nil {
			return err
		}
		if err := s.destroy(ctx, name); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	})
}
