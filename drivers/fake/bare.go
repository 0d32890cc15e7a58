package fake

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"sync"

	"assay/vm"
)

// Bare are the abilities that many hypervisors behind a command lack: a driver
// without them shows how scripts and verbs do there.
func Bare() []vm.Capability { return vm.All() }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	if !slices.Contains(m.driver.Without, c) {
		return "", false
	}
	return insteadOf[c], true
}

// insteadOf says what the user of a limited driver can do.
var insteadOf = map[vm.Capability]string{
	vm.CapSnapshot:   "capture it before and after, and launch a fresh machine to begin again",
	vm.CapMemory:     "a snapshot has the disk only",
	vm.CapFork:       "launch another machine of the image",
	vm.CapConsole:    "read the guest's journal",
	vm.CapScreenshot: "a fake machine has no display",
	vm.CapNetwork:    "launch it without a network",
	vm.CapSuspend:    "wait for it",
	vm.CapUsage:      "ask the guest, with exec",
	vm.CapDisk:       "captures walk the guest's files from inside",
}

// An owner is a fake driver on whose host the user has made machines too.
type owner struct {
	*driver
	mu    sync.Mutex
	mine  map[string]*machine // switched off, nil until they are first used
	inUse map[string]bool
}

var _ vm.Adopter = (*owner)(nil)

// Adopt implements vm.Adopter: the user's machine is a Debian that keeps what was
// written into it for as long as the process lives.
func (o *owner) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.Existing, name) {
		return nil, fmt.Errorf("fake: %s: %w", name, fs.ErrNotExist)
	}
	if o.inUse[name] {
		return nil, fmt.Errorf("fake: %s: somebody uses it", name)
	}
	m := o.mine[name]
	if m == nil {
		spec.Image = o.Image("debian-12")
		spec.CPUs, spec.Memory, spec.Name = 1, 512<<20, name
		var err error
		if m, err = o.boot(ctx, spec); err != nil {
			return nil, err
		}
		o.driver.mu.Lock()
		delete(o.machines, m) // it is nobody's to sweep
		o.driver.mu.Unlock()
		o.mine[name] = m
	}
	o.inUse[name] = true
	return &adopted{machine: m, owner: o, name: name, dir: spec}, nil
}

// adopted is the user's machine while assay has it.
type adopted struct {
	*machine
	owner *owner
	name  string
	dir   vm.Spec
	back  bool // it was given back; the owner's lock guards it
}

// Dial implements vm.Machine.
func (a *adopted) Dial(ctx context.Context) (net.Conn, error) {
	a.owner.mu.Lock()
	defer a.owner.mu.Unlock()
	if a.back {
		return nil, fmt.Errorf("dial: %s: %w", a.name, errClosed)
	}
	return a.machine.Dial(ctx)
}

// Close gives the machine back. It is not destroyed.
func (a *adopted) Close() error {
	a.owner.mu.Lock()
	defer a.owner.mu.Unlock()
	if a.back {
		return nil
	}
	a.back, a.owner.inUse[a.name] = true, false
	a.mu.Lock()
	a.cut()
	clear(a.saved)
	a.mu.Unlock()
	return removeDir(a.dir)
}
