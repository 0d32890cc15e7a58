// Package qemu is the driver for QEMU run directly: no daemon, no root, KVM
// where it is proved to work and translation where it is not.
//
// It knows QEMU's command line, its monitor protocol and its disk format. It
// does not know what the agent in the guest does beyond answering, being
// renewed, and running the few commands that make a guest ready to be copied.
package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"assay/guest"
	"assay/vm"
)

// Config says where the driver keeps its files. The zero value of a field is
// its default.
type Config struct {
	TemplateDir   string        // saved booted guests; empty: every launch boots
	NoTemplates   bool          // every launch boots, though TemplateDir is set
	TemplateLimit int64         // bytes on disk that templates may take; 0: 8 GiB
	RunDir        string        // RunDir/OWNER/… is where Sweep looks for machines
	BootDeadline  time.Duration // until the agent answers; 0: 1 minute with KVM, 4 without

	// Warm, if set, is done once in the guest of every new template before it is
	// saved, so that clones find their caches filled.
	Warm func(ctx context.Context, c *guest.Client, image vm.Image) error
}

// driver is the QEMU driver.
type driver struct {
	cfg Config

	mu    sync.Mutex
	tools *tools // what the first successful probe found
}

// New returns the QEMU driver.
func New(cfg Config) vm.Driver { return &driver{cfg: cfg} }

// Name returns "qemu".
func (d *driver) Name() string { return "qemu" }

// Probe finds QEMU and proves an accelerator by running a tiny guest; the proof
// holds until the host boots again. ASSAY_ACCEL=tcg or kvm overrules it.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	t, err := d.find(ctx)
	if err != nil {
		return vm.Info{}, err
	}
	return vm.Info{Version: t.Version, Accel: t.Accel, Detail: t.Detail, Capabilities: capabilities()}, nil
}

// find probes once; a failure is tried again.
func (d *driver) find(ctx context.Context) (tools, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tools == nil {
		t, err := probe(ctx, d.cfg.TemplateDir)
		if err != nil {
			return t, err
		}
		d.tools = &t
	}
	return *d.tools, nil
}

// Launch clones a booted template of the image, which the first launch makes,
// or boots the image. It returns when the agent has answered; the folder of
// spec is gone if it fails.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		err = errors.Join(fmt.Errorf("qemu: %s: %w", spec.Name, err), os.RemoveAll(spec.Dir))
		return nil, err
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	t, err := d.find(ctx)
	if err != nil {
		return nil, err
	}
	hw, err := t.hardware(spec)
	if err != nil {
		return nil, err
	}
	if err := fits(spec.Dir, hw, spec.Disk); err != nil {
		return nil, err
	}
	progress := spec.Progress
	if progress == nil {
		progress = func(string) {}
	}
	if d.cfg.TemplateDir != "" && !d.cfg.NoTemplates && !spec.Cold {
		m, err := d.clone(ctx, t, hw, spec, progress)
		if m != nil || err != nil {
			return m, err
		}
	}
	progress("booting")
	return d.coldBoot(ctx, t, hw, spec)
}

// coldBoot boots the image itself.
func (d *driver) coldBoot(ctx context.Context, t tools, hw hardware, spec vm.Spec) (*machine, error) {
	m, err := d.newMachine(t, hw, spec)
	if err != nil {
		return nil, err
	}
	c, err := m.boot(ctx, ram{})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	err = m.learn(ctx, c)
	c.Close()
	m.cut()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}
