// Package fake is a driver whose machines live in memory.
//
// A fake machine has a disk, processes, users, a package manager and a shell
// that are made up: it never runs a program of the host and never touches a
// host's file, so a script can be tried in milliseconds, and untrusted ones do
// no harm. It knows enough Unix for that and no more; what a real guest would
// do, only a real guest can tell.
package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"assay/vm"
)

// Config says how the machines of a fake driver behave. The zero value is a
// machine that works.
type Config struct {
	BootDelay time.Duration // how long a boot takes
	Memory    int64         // the host's, bytes; default 64 GiB
	CPUs      int           // the host's; default 64

	Called   string          // name of the driver; default fake
	Without  []vm.Capability // what its machines cannot do
	Existing []string        // names of machines that the user has made on this host
}

// The host that a fake driver pretends to have.
const (
	defaultMemory = 64 << 30
	defaultCPUs   = 64
)

// New returns the fake driver, whose machines work.
func New() vm.Driver { return Config{}.New() }

// New returns a fake driver that behaves as c says.
func (c Config) New() vm.Driver {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.CPUs == 0 {
		c.CPUs = defaultCPUs
	}
	if c.Called == "" {
		c.Called = "fake"
	}
	d := &driver{Config: c, machines: map[*machine]bool{}}
	if len(c.Existing) == 0 {
		return d
	}
	return &owner{driver: d, mine: map[string]*machine{}, inUse: map[string]bool{}}
}

type driver struct {
	Config
	mu       sync.Mutex
	machines map[*machine]bool // the live ones
}

// Name implements vm.Driver.
func (d *driver) Name() string { return d.Called }

// Probe implements vm.Driver.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	return vm.Info{
		Version: "fake 1", Accel: "none", Detail: "machines are made up in memory; nothing real runs",
		Capabilities: vm.Of(&machine{driver: d}),
	}, ctx.Err()
}

// Image returns the image of that name. A fake machine boots from nothing, so
// every name has one.
func (d *driver) Image(name string) vm.Image {
	img := vm.Image{Name: name, Arch: "amd64", Digest: "fake:" + name, Format: "none", Size: 2 << 30}
	os := osOf(img)
	img.OS, img.Version = os.ID, os.Version
	return img
}

// Launch implements vm.Driver.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	err := d.admit(spec)
	var m *machine
	if err == nil {
		progress(spec, "booting")
		m, err = d.boot(ctx, spec)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fake: %s: %w", spec.Name, err), removeDir(spec))
	}
	return m, nil
}

// admit refuses what is larger than the host.
func (d *driver) admit(spec vm.Spec) error {
	switch {
	case spec.CPUs < 1 || spec.Memory < 1:
		return fmt.Errorf("launch: %s: got %d cpus and %d bytes of memory, want at least 1 of each", spec.Name, spec.CPUs, spec.Memory)
	case spec.CPUs > d.CPUs:
		return &vm.ResourceError{What: "cpus", Got: fmt.Sprint(spec.CPUs), Has: fmt.Sprint(d.CPUs)}
	case spec.Memory > d.Memory:
		return &vm.ResourceError{What: "memory", Got: gib(spec.Memory), Has: gib(d.Memory)}
	case spec.Disk > maxDisk:
		return &vm.ResourceError{What: "disk", Got: gib(spec.Disk), Has: gib(maxDisk)}
	}
	return nil
}

// maxDisk is the largest disk that a fake machine pretends to have.
const maxDisk = 1 << 40

func gib(n int64) string { return fmt.Sprintf("%g GiB", float64(n)/(1<<30)) }

func progress(spec vm.Spec, phase string) {
	if spec.Progress != nil {
		spec.Progress(phase)
	}
}

// keep notes a machine that lives.
func (d *driver) keep(m *machine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.machines[m] = true
}

// forget drops a machine that is gone, and its folder.
func (d *driver) forget(m *machine) error {
	d.mu.Lock()
	delete(d.machines, m)
	d.mu.Unlock()
	return removeDir(m.spec)
}

// removeDir removes a machine's folder, as every driver does.
func removeDir(spec vm.Spec) error {
	if spec.Dir == "" {
		return nil
	}
	return os.RemoveAll(spec.Dir)
}

// Sweep implements vm.Driver. A fake machine dies with the process that made it,
// so only machines of this process can be left.
func (d *driver) Sweep(_ context.Context, owner string) (int, error) {
	d.mu.Lock()
	var left []*machine
	for m := range d.machines {
		if m.spec.Owner == owner {
			left = append(left, m)
		}
	}
	d.mu.Unlock()
	for _, m := range left {
		if err := m.Close(); err != nil {
			return 0, err
		}
	}
	return len(left), nil
}
