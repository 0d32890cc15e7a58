// Package utm makes machines with UTM on a Mac: utmctl runs them, and AppleScript,
// through osascript, makes and configures them.
//
// The line to the agent is a virtio-serial port that QEMU serves on a TCP port of
// the loopback: utmctl's own exec tells nothing before a command has ended. The
// agent comes from a seed disk; into a clone of the user's virtual machine, the
// image "template:NAME", it goes by the guest agent of QEMU that such a machine
// has.
//
// It knows utmctl's words, and that utmctl says 0 when it has failed: what was
// said on its standard error counts, and then what the list says.
package utm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// name is the driver's.
const name = "utm"

// systems are the hosts that it runs on.
var systems = []string{"darwin"}

type driver struct {
	ctl, osa cli.Tool
	agents   func(arch string) ([]byte, error)
	place    *cli.Place

	pause time.Duration // between two attempts at what is busy for a moment
	doubt time.Duration // in which a command that failed may turn out to have worked
	boot  time.Duration // that a guest may take until it answers
	power time.Duration // that UTM may take to start or stop a machine

	mu    sync.Mutex
	found version // zero until it is known
}

// New returns the driver.
func New(cfg cli.Config) vm.Driver { return newDriver(cfg) }

func newDriver(cfg cli.Config) *driver {
	return &driver{
		ctl: utmctl(), osa: osascript(), agents: cfg.Agents, place: cfg.Place(name),
		pause: time.Second, doubt: 4 * time.Second, boot: 10 * time.Minute, power: 2 * time.Minute,
	}
}

// Name implements vm.Driver.
func (d *driver) Name() string { return name }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "UTM", Tool: "utmctl", Variable: cli.Variable("utmctl"), Systems: systems,
		Capabilities: vm.Of(&machine{version: snapshots}),
		Instead: map[vm.Capability]string{
			vm.CapFork:       "launch the image again, or clone a virtual machine in UTM and use it as template:NAME",
			vm.CapScreenshot: "read the console, or look at the machine's window in UTM",
			vm.CapNetwork:    `launch a machine with network="none": UTM changes cards only while a machine is off`,
			vm.CapDisk:       "take a capture in the guest; it needs nothing of the hypervisor",
		},
		Isolation: vm.IsolationHost,
	}
}

// Probe implements vm.Driver. It asks for the version, and for the list of
// machines: that needs the user's leave to control UTM, as everything else does.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	v, err := d.version(ctx)
	if err == nil {
		_, err = d.list(ctx)
	}
	if err != nil {
		return vm.Info{}, d.unavailable(err)
	}
	return vm.Info{
		Version: "UTM " + v.String(), Accel: "hvf", Capabilities: vm.Of(&machine{version: v}),
		Detail: "guests for other processors than the host's are emulated",
	}, nil
}

// unavailable says why UTM cannot be used here.
func (d *driver) unavailable(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &vm.UnavailableError{Driver: name, Fix: allow, Reason: "this terminal may not control UTM: " +
			"allow it in System Settings, Privacy & Security, Automation; a session of ssh cannot be allowed"}
	}
	return d.ctl.Unavailable(err)
}

// Launch implements vm.Driver.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("utm: %s: %w", spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	if err := d.admit(spec); err != nil {
		return nil, err
	}
	m, err := d.add(ctx, spec)
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
	if _, err := processor(spec.Image.Arch); err != nil {
		return err
	}
	return cli.Fits(spec)
}

// processor returns what UTM calls an architecture of Go's; none is the host's.
func processor(arch string) (string, error) {
	if arch == "" {
		arch = runtime.GOARCH
	}
	switch arch {
	case "amd64":
		return "x86_64", nil
	case "arm64":
		return "aarch64", nil
	}
	return "", &vm.UnsupportedError{Machine: name, Want: "a guest for " + arch, Instead: "use an image for amd64 or arm64"}
}

// Image implements vm.Catalog: "template:NAME" is a virtual machine of UTM's,
// which is cloned.
func (d *driver) Image(_ context.Context, image string) (vm.Image, error) {
	return cli.TemplateImage(name, image)
}

// add gives a machine its name and its folder, of which neither may be taken.
// UTM itself would let two machines share a name.
func (d *driver) add(ctx context.Context, spec vm.Spec) (*machine, error) {
	v, err := d.version(ctx)
	if err != nil {
		return nil, err
	}
	m := d.machine(v, cli.Name(spec.Owner, spec.Name), spec)
	switch _, err := d.find(ctx, m.name); {
	case err == nil:
		return nil, fmt.Errorf("virtual machine %s: %w", m.name, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return m, d.place.Add(m.name, cli.Note{})
}

// Sweep implements vm.Driver.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	n, err := cli.Sweep(ctx, owner, d.names, d.remove)
	if err != nil {
		return n, fmt.Errorf("utm: sweep: %w", err)
	}
	return n, nil
}

// names lists what may have been left behind.
func (d *driver) names(ctx context.Context) ([]string, error) { return d.place.Leftovers(d.list(ctx)) }

// remove takes a machine of that name away, whatever it is doing.
func (d *driver) remove(ctx context.Context, name string) error {
	l, err := d.find(ctx, name)
	if err == nil {
		err = d.kill(ctx, l.ID)
	}
	if err != nil && !cli.Absent(err) {
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
	_, failed := d.run(ctx, "delete", l.ID)
	return d.arrival("the end of "+name, failed).Wait(ctx, func(ctx context.Context) (bool, error) {
		_, err := d.find(ctx, l.ID)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err
	})
}
