// Package hyperv is the driver for Hyper-V, through PowerShell.
//
// It knows Hyper-V's cmdlets, which run in the scripts of its folder script, and
// that a Linux guest is reached over a Hyper-V socket or a serial port: the
// agent's line needs no network. It does not know what the agent says.
package hyperv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// name is what scripts call the driver.
const name = "hyperv"

// systems are the hosts that have a Hyper-V.
var systems = []string{"windows"}

// driver is the Hyper-V driver.
type driver struct {
	agents func(arch string) ([]byte, error)
	place  *cli.Place
	shell  *cli.Tool
	ssh    *cli.Tool // for machines that are not ours

	// connect opens a Hyper-V socket to a port of the machine with that id.
	connect func(ctx context.Context, id string, port uint32) (net.Conn, error)
}

var (
	_ vm.Driver  = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
	_ vm.Adopter = (*driver)(nil)
	_ vm.Trimmer = (*driver)(nil)
)

// New returns the Hyper-V driver.
func New(cfg cli.Config) vm.Driver {
	return &driver{agents: cfg.Agents, place: cfg.Place(name), shell: powershell(), ssh: ssh(), connect: connect}
}

// Name returns "hyperv".
func (d *driver) Name() string { return name }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "Hyper-V", Tool: "powershell", Variable: cli.Variable("powershell"), Systems: systems,
		Capabilities: vm.Of(&machine{d: d}), Isolation: vm.IsolationHost,
		Instead: map[vm.Capability]string{vm.CapDisk: "captures read the guest's files through its agent"},
	}
}

// Probe asks whether Hyper-V is installed, whether its service runs, and whether
// this user may use it.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	var found struct{ Version string }
	if err := d.ask(ctx, "probe", nil, &found); err != nil {
		return vm.Info{}, d.shell.Unavailable(err)
	}
	return vm.Info{Version: "Hyper-V " + found.Version, Capabilities: vm.Of(&machine{d: d})}, nil
}

// Launch makes a machine whose disk is a difference to the image's, converted
// once, and returns it when its agent has answered.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %s: %w", name, spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	if _, err := d.Probe(ctx); err != nil {
		return nil, err
	}
	if err := admit(spec); err != nil {
		return nil, err
	}
	progress := spec.Progress
	if progress == nil {
		progress = func(string) {}
	}
	base, err := d.base(ctx, spec.Image, progress)
	if err != nil {
		return nil, err
	}
	m, err := d.add(ctx, spec, base)
	if err != nil {
		return nil, err
	}
	progress("booting")
	if err := m.make(ctx, spec, base); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := m.boot(ctx, spec); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// admit refuses what cannot be done here, before anything starts.
func admit(spec vm.Spec) error {
	if spec.CPUs < 1 || spec.Memory < 32<<20 {
		return fmt.Errorf("got %d cpus and %d bytes of memory, want at least 1 and 32 MiB", spec.CPUs, spec.Memory)
	}
	if err := cli.BootsItself(name, spec.Image); err != nil {
		return err
	}
	if err := cli.AllOrNothing(name, spec.Network); err != nil {
		return err
	}
	if arch := spec.Image.Arch; arch != "" && arch != runtime.GOARCH {
		return &vm.UnsupportedError{Machine: name, Want: fmt.Sprintf("image %q, which is for %s,", spec.Image.Name, arch),
			Instead: "use an image for " + runtime.GOARCH + ", or the driver qemu"}
	}
	return cli.Fits(spec)
}

// add takes the machine's name, a folder and a line for it.
func (d *driver) add(ctx context.Context, spec vm.Spec, base string) (*machine, error) {
	m := d.machine(cli.Name(spec.Owner, spec.Name), spec.Dir)
	if err := d.place.Add(m.name, cli.Note{Base: base}); err != nil {
		return nil, err
	}
	var err error
	if m.pipe, err = d.place.Socket(m.name); err == nil {
		m.socket, err = d.register(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.line = &hypervisorLine{m: m}
	return m, nil
}

// Sweep destroys the owner's machines: those that Hyper-V lists, and those of
// which only files are left.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	return cli.Sweep(ctx, owner, d.names, d.remove)
}

// Trim implements vm.Trimmer: converted disks go. Hyper-V keeps no list of disks.
func (d *driver) Trim(context.Context) (int64, error) {
	return d.place.Trim(func(string) {})
}

// names lists the machines that Hyper-V or the driver's folder knows.
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
		names = append(names, l.Name)
	}
	return d.place.Union(names)
}
