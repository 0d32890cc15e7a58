package utm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/vm"
)

var (
	_ vm.Adopter = (*driver)(nil)
	_ vm.Catalog = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
)

// documents is where UTM keeps machines.
func documents() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "Library", "Containers", "com.utmapp.UTM", "Data", "Documents")
}

// Adopt implements vm.Adopter. The machine must be off, for only then does UTM let
// it have a line, and its guest must have qemu-guest-agent.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("utm: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	if _, err := d.ctl.Path(); err != nil {
		return nil, d.ctl.Unavailable(err)
	}
	v, err := d.version(ctx)
	if err != nil {
		return nil, err
	}
	l, err := d.lent(ctx, name)
	if err != nil {
		return nil, err
	}
	if l.State != stopped {
		return nil, &vm.UnsupportedError{
			Machine: "utm", Want: "the use of a virtual machine that is " + l.State,
			Instead: fmt.Sprintf("switch it off first, with \"utmctl stop %s --request\": UTM gives it a line only then", l.ID),
		}
	}
	m := d.machine(v, l.Name, spec)
	m.id, m.adopted, m.tools = l.ID, true, true
	err = m.addLine(ctx)
	if err == nil {
		err = m.begin(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// giveBack takes out of an adopted machine what was put in, and switches it off.
func (m *machine) giveBack(ctx context.Context) error {
	var errs []error
	if m.inside {
		errs = append(errs, m.wake(ctx), cli.Depart(ctx, tools{m}))
	}
	for _, id := range m.saved.IDs() {
		_, err := m.d.run(ctx, "snapshot", "delete", m.id, "--snapshot", id)
		errs = append(errs, err)
	}
	errs = append(errs, m.shutDown(ctx))
	_, err := m.d.script(ctx, "line", append([]string{m.id, "remove"}, m.arguments()...)...)
	return errors.Join(append(errs, err)...)
}

// wake lets the machine run, if its guest has ended it or it stands still.
func (m *machine) wake(ctx context.Context) error {
	if err := m.goOn(ctx); err != nil {
		return err
	}
	return tools{m}.wait(ctx)
}

// shutDown lets the guest end by itself, or cuts its power if it does not.
func (m *machine) shutDown(ctx context.Context) error {
	l, err := m.d.find(ctx, m.id)
	if err != nil || l.State == stopped {
		return err
	}
	_, err = m.d.run(ctx, "stop", m.id, "--request")
	if m.d.reach(ctx, m.id, stopped, err) == nil {
		return nil
	}
	return m.d.kill(ctx, m.id)
}
