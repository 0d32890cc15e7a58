//go:build linux

package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"assay/vm"
)

// driver is the QEMU driver.
type driver struct {
	cfg Config

	mu    sync.Mutex
	tools *tools // what the first successful probe found
}

// New returns the QEMU driver.
func New(cfg Config) vm.Driver { return &driver{cfg: cfg} }

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
	if err = m.seeded(ctx, c, spec.Progress); err == nil {
		err = m.learn(ctx, c)
	}
	c.Close()
	m.cut()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}
