package vmware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// shutdownLimit is how long a guest may take to shut down.
const shutdownLimit = 30 * time.Second

// A visit is what is put into a machine of the user's, and must go again.
type visit struct {
	tools  tools
	port   bool // the second serial port is ours
	inside bool // the agent is in the guest
}

// Adopt uses a machine of the user's that is switched off; name is the path of its
// .vmx file, which is all that VMware calls it. It gets a second serial port for
// as long as it is used. The agent gets in through VMware Tools, by an account
// that ASSAY_GUEST_USER and ASSAY_GUEST_PASSWORD name.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vmware: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	p, err := d.product(ctx)
	if err != nil {
		return nil, p.vmrun.Unavailable(err)
	}
	if !filepath.IsAbs(name) || filepath.Ext(name) != ".vmx" {
		return nil, fmt.Errorf("got %q, want the path of a .vmx file: %w", name, fs.ErrNotExist)
	}
	c, err := readConfig(name)
	if err != nil {
		return nil, err
	}
	if err := p.adoptable(ctx, name, c); err != nil {
		return nil, err
	}
	account, err := cli.GuestAccount()
	if err != nil {
		return nil, err
	}
	m := d.machine(p, name, spec)
	m.vmx, m.home, m.open = name, spec.Dir, true
	m.user = &visit{tools: tools{p: p, vmx: name, account: account, dir: spec.Dir}}
	if m.Socket, err = cli.SocketIn(spec.Dir); err == nil {
		err = m.enter(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// adoptable refuses a machine that cannot have our line.
func (p *product) adoptable(ctx context.Context, vmx string, c config) error {
	on, err := p.runs(ctx, vmx)
	switch {
	case err != nil:
		return err
	case on || c.get("checkpoint.vmState") != "":
		return &vm.UnsupportedError{Machine: vmx, Want: "a machine that is not switched off", Instead: "shut it down: assay starts it, with a serial port more"}
	case strings.EqualFold(c.get("serial1.present"), "TRUE"):
		return &vm.UnsupportedError{Machine: vmx, Want: "a machine whose second serial port is in use", Instead: "remove that port in its settings"}
	}
	return nil
}

// enter starts the machine with a port for the line, and puts the agent in.
func (m *machine) enter(ctx context.Context) error {
	v := m.user
	v.port = true
	if err := edit(m.vmx, linePort(m.Socket)...); err != nil {
		return err
	}
	if err := m.start(ctx); err != nil {
		return err
	}
	if err := cli.Inhabited(ctx, v.tools, fixTools, m.alive); err != nil {
		return err
	}
	v.inside = true
	if err := cli.Enter(ctx, v.tools, m.d.agents); err != nil {
		return err
	}
	if err := cli.Serve(ctx, v.tools, "port "+port); err != nil {
		return err
	}
	c, err := m.Await(ctx, m.Console, bootLimit)
	if err != nil {
		return err
	}
	return c.Close()
}

// leave takes out what was put in, and switches the machine off again.
func (m *machine) leave(ctx context.Context) error {
	if _, err := os.Stat(m.vmx); errors.Is(err, fs.ErrNotExist) {
		return nil // its owner was first
	}
	v := m.user
	on, err := m.p.runs(ctx, m.vmx)
	errs := []error{err}
	if on && m.held() {
		_, err := m.p.run(ctx, "unpause", m.vmx)
		errs = append(errs, err)
	}
	if on && v.inside {
		errs = append(errs, cli.Depart(ctx, v.tools))
		soft, cancel := context.WithTimeout(ctx, shutdownLimit)
		_, _ = m.p.run(soft, "stop", m.vmx, "soft") // who does not listen loses the power
		cancel()
	}
	errs = append(errs, m.p.stop(ctx, m.vmx), m.forgetSnapshots(ctx))
	if v.port {
		errs = append(errs, drop(m.vmx, "serial1."))
	}
	return errors.Join(append(errs, cli.RemoveSocket(m.Socket))...)
}

// forgetSnapshots deletes the snapshots that were taken of the user's machine.
func (m *machine) forgetSnapshots(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for name, own := range m.snapshots {
		if _, err := m.p.run(ctx, "deleteSnapshot", m.vmx, own); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("snapshot %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
