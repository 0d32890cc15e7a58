// Package virtualbox is the driver for VirtualBox, through VBoxManage.
//
// It knows VBoxManage's words, and that a serial port of a machine can be a
// socket of the host: the agent's line needs no network and no Guest Additions.
// It does not know what the agent says.
package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// driverName is what scripts call the driver.
const driverName = "virtualbox"

// driver is the VirtualBox driver.
type driver struct {
	agents func(arch string) ([]byte, error)
	place  *cli.Place
	manage *cli.Tool
	media  sync.Mutex // a disk that is shared is not closed while it is opened
}

var (
	_ vm.Driver  = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
	_ vm.Adopter = (*driver)(nil)
	_ vm.Trimmer = (*driver)(nil)
)

// New returns the VirtualBox driver.
func New(cfg cli.Config) vm.Driver {
	return &driver{agents: cfg.Agents, place: cfg.Place(driverName), manage: tool()}
}

// Name returns "virtualbox".
func (d *driver) Name() string { return driverName }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "VirtualBox", Tool: "VBoxManage", Variable: cli.Variable("VBoxManage"), Systems: []string{"linux", "windows", "darwin"},
		Capabilities: vm.Of(&machine{d: d}), Isolation: vm.IsolationHost,
		Instead: map[vm.Capability]string{vm.CapDisk: "captures read the guest's files through its agent"},
	}
}

// Probe asks VBoxManage for its version, and on Linux whether the processor's
// virtualisation can be used: without it, no machine starts.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	v, err := d.version(ctx)
	if err == nil {
		err = d.canStart(ctx)
	}
	if err != nil {
		return vm.Info{}, d.manage.Unavailable(err)
	}
	return vm.Info{Version: "VirtualBox " + v.text, Capabilities: vm.Of(&machine{d: d})}, nil
}

// Launch makes a machine whose disk is a difference to the image's, converted
// once, and returns it when its agent has answered.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %s: %w", driverName, spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	v, err := d.version(ctx)
	if err != nil {
		return nil, d.manage.Unavailable(err)
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
	base, err := d.base(ctx, spec, progress)
	if err != nil {
		return nil, err
	}
	m, err := d.add(spec, cli.Note{Base: base})
	if err != nil {
		return nil, err
	}
	progress("booting")
	if err := m.make(ctx, spec, v, base); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := m.boot(ctx, spec); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// add takes the machine's name, and a folder for it.
func (d *driver) add(spec vm.Spec, n cli.Note) (*machine, error) {
	m := d.machine(cli.Name(spec.Owner, spec.Name), spec)
	if err := d.place.Add(m.name, n); err != nil {
		return nil, err
	}
	var err error
	if m.Socket, err = d.place.Socket(m.name); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Trim implements vm.Trimmer: converted disks go when nobody used them for a week.
func (d *driver) Trim(ctx context.Context) (int64, error) {
	return d.place.Trim(func(path string) { d.forget(ctx, "disk", path) })
}

// Sweep destroys the owner's machines: those that VirtualBox lists, and those of
// which only files are left.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	return cli.Sweep(ctx, owner, d.names, d.remove)
}

// names lists the machines that VirtualBox or the driver's folder knows.
func (d *driver) names(ctx context.Context) ([]string, error) {
	listed, err := d.list(ctx)
	if errors.Is(err, cli.ErrNotInstalled) {
		listed, err = nil, nil // then nothing of it runs
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range listed {
		names = append(names, l.name)
	}
	return d.place.Union(names)
}
