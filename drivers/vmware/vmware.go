// Package vmware is the driver for VMware Workstation, Player and Fusion, through
// vmrun.
//
// It knows vmrun's words, the text files that describe a machine, its snapshots
// and its disk, and that a serial port of a machine can be a socket of the host:
// the agent's line needs no network and no VMware Tools. It does not know what
// the agent says.
package vmware

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// driverName is what scripts call the driver.
const driverName = "vmware"

// driver is the VMware driver.
type driver struct {
	agents func(arch string) ([]byte, error)
	place  *cli.Place

	mu    sync.Mutex
	found *product // what the first successful look found
}

var (
	_ vm.Driver  = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
	_ vm.Adopter = (*driver)(nil)
	_ vm.Trimmer = (*driver)(nil)
)

// New returns the VMware driver.
func New(cfg cli.Config) vm.Driver { return &driver{agents: cfg.Agents, place: cfg.Place(driverName)} }

// Name returns "vmware".
func (d *driver) Name() string { return driverName }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "VMware Workstation, Player and Fusion", Tool: "vmrun", Variable: cli.Variable("vmrun"), Systems: []string{"windows", "linux", "darwin"},
		Capabilities: vm.Of(&machine{d: d}), Isolation: vm.IsolationHost,
		Instead: map[vm.Capability]string{vm.CapDisk: "captures read the guest's files through its agent"},
	}
}

// Probe finds out which product vmrun reaches, and its own version.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	p, err := d.product(ctx)
	if err != nil {
		return vm.Info{}, p.vmrun.Unavailable(err)
	}
	return vm.Info{Version: p.version, Detail: p.title, Capabilities: vm.Of(&machine{d: d, p: p})}, nil
}

// Launch makes a machine that is a linked clone of a template, which is made of
// the image once, and returns it when its agent has answered.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %s: %w", driverName, spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	p, err := d.product(ctx)
	if err != nil {
		return nil, p.vmrun.Unavailable(err)
	}
	if err := cli.OnlyAMD64(driverName, spec.Image); err != nil {
		return nil, err
	}
	if err := cli.Admit(driverName, spec); err != nil {
		return nil, err
	}
	progress := spec.Progress
	if progress == nil {
		progress = func(string) {}
	}
	template, err := d.template(ctx, p, spec, progress)
	if err != nil {
		return nil, err
	}
	m, err := d.add(p, spec, template)
	if err != nil {
		return nil, err
	}
	progress("booting")
	if err := m.make(ctx, spec, template); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// add takes the machine's name, and a folder for it.
func (d *driver) add(p *product, spec vm.Spec, template string) (*machine, error) {
	m := d.machine(p, cli.Name(spec.Owner, spec.Name), spec)
	if err := d.place.Add(m.name, cli.Note{Base: template}); err != nil {
		return nil, err
	}
	var err error
	if m.Socket, err = d.place.Socket(m.name); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Trim implements vm.Trimmer: templates go when nobody used them for a week.
func (d *driver) Trim(context.Context) (int64, error) {
	return d.place.Trim(func(string) {})
}

// Sweep destroys the owner's machines. VMware lists only those that run; the
// driver's own folder has them all.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	return cli.Sweep(ctx, owner, d.names, d.remove)
}

// names lists the machines that run, and those that have files.
func (d *driver) names(ctx context.Context) ([]string, error) {
	names, err := d.place.Names()
	if err != nil {
		return nil, err
	}
	p, err := d.product(ctx)
	if errors.Is(err, cli.ErrNotInstalled) {
		return names, nil // then nothing of it runs
	}
	if err != nil {
		return nil, err
	}
	running, err := p.running(ctx)
	if err != nil {
		return nil, err
	}
	for _, vmx := range running {
		names = append(names, strings.TrimSuffix(filepath.Base(vmx), ".vmx"))
	}
	return d.place.Union(names)
}

// vmx names the file that describes a machine, by which vmrun knows it.
func (d *driver) vmx(name string) string { return filepath.Join(d.place.Dir(name), name+".vmx") }
