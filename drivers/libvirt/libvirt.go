// Package libvirt is the driver for machines that libvirt manages with QEMU:
// the system's, the user's own, and those of another host over ssh.
//
// It knows virsh, the XML of domains, and where files must lie and whose they
// must be so that libvirt's QEMU can use them. It does not know what the agent
// in the guest does beyond answering and being renewed, and it does not speak
// libvirt's protocol: whatever virsh can reach will do.
package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// driver is the libvirt driver.
type driver struct {
	cfg   cli.Config
	place *cli.Place // for templates
	pool  string     // where root's machines live
	uri   string     // what virsh connects to; empty: see defaultURI

	mu    sync.Mutex
	found *site // by the first probe that succeeded
}

// New returns the libvirt driver. It connects to ASSAY_LIBVIRT_URI, else to
// LIBVIRT_DEFAULT_URI, else root to qemu:///system and others to qemu:///session.
func New(cfg cli.Config) vm.Driver { return &driver{cfg: cfg, place: cfg.Place("libvirt"), pool: pool} }

// Name returns "libvirt".
func (d *driver) Name() string { return "libvirt" }

// defaultURI is the connection that the environment names, or the user's own.
func defaultURI() string {
	for _, name := range []string{"ASSAY_LIBVIRT_URI", "LIBVIRT_DEFAULT_URI"} {
		if uri := os.Getenv(name); uri != "" {
			return uri
		}
	}
	if os.Geteuid() == 0 {
		return "qemu:///system"
	}
	return "qemu:///session"
}

// Card says what is known of the driver on any host.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Builds: "yes",
		Title:  "libvirt",
		Tool:   "virsh", Variable: cli.Variable("virsh"),
		Systems:      []string{"linux", "darwin"},
		Met:          []string{"libvirt 9.0.0, QEMU 7.2.22"},
		Capabilities: capabilities(),
		Instead: map[vm.Capability]string{
			vm.CapDisk: "captures read the guest's files through its agent",
		},
		Isolation: vm.IsolationHost,
	}
}

// Probe connects to libvirt and proves an accelerator by running a tiny guest.
// ASSAY_ACCEL=tcg or kvm overrules it.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	s, err := d.site(ctx)
	if err != nil {
		return vm.Info{}, err
	}
	return vm.Info{Version: s.version, Accel: s.accel, Detail: s.detail, Capabilities: capabilities()}, nil
}

// site connects once; a failure is tried again.
func (d *driver) site(ctx context.Context) (*site, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return d.found, nil
	}
	uri := d.uri
	if uri == "" {
		uri = defaultURI()
	}
	s, err := connect(ctx, uri, d.pool)
	if err != nil {
		return nil, err
	}
	if err := s.chooseAccel(ctx, d.cfg.Home); err != nil {
		return nil, err
	}
	d.found = s
	return s, nil
}

// Launch boots the image in a domain of its own. It returns when the agent has
// answered; the folder of spec is gone if it fails.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libvirt: %s: %w", spec.Name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	s, err := d.site(ctx)
	if err != nil {
		return nil, err
	}
	hw, err := s.hardware(spec)
	if err != nil {
		return nil, err
	}
	if err := s.fits(ctx, spec); err != nil {
		return nil, err
	}
	progress := spec.Progress
	if progress == nil {
		progress = func(string) {}
	}
	if d.clones(s, spec) {
		m, err := d.clone(ctx, s, hw, spec, progress)
		if m != nil || err != nil {
			return m, err
		}
	}
	progress("booting")
	m, err := newMachine(ctx, s, hw, spec)
	if err == nil {
		err = m.boot(ctx, nil)
	}
	if err != nil {
		return nil, m.undo(err)
	}
	return m, nil
}
