// Package qemu is the driver for QEMU run directly: no daemon, no root, KVM
// where it is proved to work and translation where it is not.
//
// It knows QEMU's command line, its monitor protocol and its disk format. It
// does not know what the agent in the guest does beyond answering, being
// renewed, and saying that the guest has settled.
package qemu

import (
	"context"
	"time"

	"assay/vm"
)

// Config says where the driver keeps its files. The zero value of a field is
// its default.
type Config struct {
	TemplateDir   string        // saved booted guests; empty: every launch boots
	NoTemplates   bool          // every launch boots, though TemplateDir is set
	TemplateLimit int64         // bytes on disk that templates may take; 0: 8 GiB
	RunDir        string        // RunDir/OWNER/NAME is where Sweep looks for machines
	BootDeadline  time.Duration // until the agent answers; 0: 1 minute with KVM, 4 without
}

// driver is the QEMU driver.
type driver struct {
	cfg Config
}

// New returns the QEMU driver.
func New(cfg Config) vm.Driver { return &driver{cfg: cfg} }

// Name returns "qemu".
func (d *driver) Name() string { return "qemu" }

// Probe says that the driver is not ready.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	return vm.Info{}, &vm.UnavailableError{Driver: "qemu", Reason: "the driver is being built"}
}

// Launch says that the driver is not ready.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	return nil, &vm.UnavailableError{Driver: "qemu", Reason: "the driver is being built"}
}

// Sweep finds nothing.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) { return 0, nil }

// Trim removes the least recently used templates of dir until they take at
// most limit bytes on disk; templates in use stay. It returns the bytes freed.
func Trim(dir string, limit int64) (int64, error) { return 0, nil }
