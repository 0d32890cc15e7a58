// Package parallels makes machines with Parallels Desktop, through prlctl.
//
// A machine is a clone of a virtual machine that the user has, the image
// "template:NAME": then its line is a command that Parallels Tools run in the
// guest. Or it is a cloud image on a disk in Parallels' own form: such a guest
// has no Parallels Tools, so a seed disk brings the agent, and the line is a
// serial port.
//
// It knows prlctl's words and JSON, and that its exit codes and sentences are
// not to be trusted: what became of a machine, the next list says.
package parallels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// name is the driver's.
const name = "parallels"

// systems are the hosts that it runs on.
var systems = []string{"darwin"}

type driver struct {
	ctl, srv cli.Tool
	agents   func(arch string) ([]byte, error)
	place    *cli.Place

	pause time.Duration // between two attempts at what is busy for a moment
	doubt time.Duration // in which a command that failed may turn out to have worked
	boot  time.Duration // that a guest may take until it answers
}

// New returns the driver.
func New(cfg cli.Config) vm.Driver { return newDriver(cfg) }

func newDriver(cfg cli.Config) *driver {
	d := &driver{agents: cfg.Agents, place: cfg.Place(name), pause: 2 * time.Second, doubt: 4 * time.Second, boot: 10 * time.Minute}
	d.ctl, d.srv = tool("prlctl"), tool("prlsrvctl")
	return d
}

// Name implements vm.Driver.
func (d *driver) Name() string { return name }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "Parallels Desktop", Tool: "prlctl", Variable: cli.Variable("prlctl"), Systems: systems,
		Capabilities: vm.Of(&machine{}),
		Instead: map[vm.Capability]string{
			vm.CapConsole: "read the guest's journal with exec, or take a screenshot",
			vm.CapDisk:    "take a capture in the guest; it needs nothing of the hypervisor",
		},
		Isolation: vm.IsolationHost,
	}
}

// Probe implements vm.Driver. It asks for the version and for the list of
// machines: the former works without a service, and proves nothing.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	version, err := d.version(ctx)
	if err == nil {
		_, err = d.list(ctx)
	}
	if err != nil {
		return vm.Info{}, d.ctl.Unavailable(err)
	}
	info := vm.Info{Version: "Parallels Desktop " + version, Accel: "parallels", Capabilities: vm.Of(&machine{})}
	if edition := d.edition(ctx); edition != "" {
		info.Detail = "edition " + edition
	}
	return info, nil
}

// Launch implements vm.Driver.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("parallels: %s: %w", spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	if err := d.admit(spec); err != nil {
		return nil, err
	}
	m, err := d.add(ctx, spec, "")
	if err != nil {
		return nil, err
	}
	progress(spec, "creating")
	if template, ok := cli.TemplateOf(spec.Image); ok {
		err = m.cloneTemplate(ctx, template)
	} else {
		err = m.build(ctx)
	}
	if err == nil {
		err = m.begin(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func progress(spec vm.Spec, phase string) {
	if spec.Progress != nil {
		spec.Progress(phase)
	}
}

// admit refuses what cannot be, before anything starts.
func (d *driver) admit(spec vm.Spec) error {
	if _, err := d.ctl.Path(); err != nil {
		return d.ctl.Unavailable(err)
	}
	if err := cli.AllOrNothing(name, spec.Network); err != nil {
		return err
	}
	if err := cli.BootsItself(name, spec.Image); err != nil {
		return err
	}
	if arch := spec.Image.Arch; arch != "" && arch != runtime.GOARCH {
		return &vm.UnsupportedError{
			Machine: name, Want: fmt.Sprintf("a guest for %s on this %s Mac", arch, runtime.GOARCH),
			Instead: "import the cloud image for " + runtime.GOARCH + ", or use the driver utm, which emulates others",
		}
	}
	return cli.Fits(spec)
}

// Image implements vm.Catalog: "template:NAME" is a virtual machine or template
// of Parallels, which is cloned.
func (d *driver) Image(_ context.Context, image string) (vm.Image, error) {
	return cli.TemplateImage(name, image)
}

// add gives a machine its name and its folder, of which neither may be taken.
func (d *driver) add(ctx context.Context, spec vm.Spec, parent string) (*machine, error) {
	m := d.machine(cli.Name(spec.Owner, spec.Name), spec)
	switch _, err := d.find(ctx, m.name); {
	case err == nil:
		return nil, fmt.Errorf("virtual machine %s: %w", m.name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return m, d.place.Add(m.name, cli.Note{Parent: parent})
}

// Sweep implements vm.Driver.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	n, err := cli.Sweep(ctx, owner, d.names, d.remove)
	if err != nil {
		return n, fmt.Errorf("parallels: sweep: %w", err)
	}
	return n, nil
}

// names lists what may have been left behind.
func (d *driver) names(ctx context.Context) ([]string, error) { return d.place.Leftovers(d.list(ctx)) }

// remove takes a machine of that name away, whatever it is doing.
func (d *driver) remove(ctx context.Context, name string) error {
	if err := d.kill(ctx, name); err != nil && !cli.Absent(err) {
		return err
	}
	return d.place.Remove(ctx, name, d.destroy)
}

// destroy deletes a virtual machine that is off, with its disks.
func (d *driver) destroy(ctx context.Context, name string, _ cli.Note) error {
	l, err := d.find(ctx, name)
	if cli.Absent(err) {
		return fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	args := []string{"delete", l.ID}
	if l.State == "invalid" { // its files are gone
		args[0] = "unregister"
	}
	_, failed := d.do(ctx, cli.Call{Args: args, Stdin: strings.NewReader("y\n")}) // newer versions ask
	return d.arrival("the end of "+name, failed).Wait(ctx, func(ctx context.Context) (bool, error) {
		_, err := d.find(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	})
}
