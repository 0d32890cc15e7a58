package parallels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"assay/drivers/internal/cli"
	"assay/vm"
)

var (
	_ vm.Adopter = (*driver)(nil)
	_ vm.Catalog = (*driver)(nil)
	_ vm.Carder  = (*driver)(nil)
)

// Adopt implements vm.Adopter. The machine needs Parallels Tools.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("parallels: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	if _, err := d.ctl.Path(); err != nil {
		return nil, d.ctl.Unavailable(err)
	}
	l, err := d.lent(ctx, name)
	if err != nil {
		return nil, err
	}
	switch l.State {
	case running, stopped, suspended, paused:
	default:
		return nil, fmt.Errorf("the virtual machine is %s, want one that is running, stopped, suspended or paused: %w", l.State, cli.ErrState)
	}
	m := d.machine(l.Name, spec)
	m.uuid, m.found, m.loan = l.ID, l.State, &loan{d: d, uuid: l.ID, users: 1}
	if err := m.wake(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// wake lets an adopted machine run, and puts the agent in.
func (m *machine) wake(ctx context.Context) error {
	f, err := m.d.facts(ctx, m.uuid)
	if err != nil {
		return err
	}
	m.cards = f.devices("net")
	if m.found != running {
		progress(m.spec, "booting")
	}
	if err := m.goOn(ctx); err != nil {
		return err
	}
	if err := m.ready(ctx); err != nil {
		return err
	}
	return m.enter(ctx)
}

// giveBack takes out of an adopted machine what was put in, and leaves it in the
// state that it was found in.
func (m *machine) giveBack(ctx context.Context) error {
	l, err := m.d.find(ctx, m.uuid)
	if err != nil {
		return err
	}
	var errs []error
	if m.inside && l.State != running {
		errs = append(errs, m.goOn(ctx), m.ready(ctx))
	}
	if m.down {
		errs = append(errs, m.pull(ctx, true))
	}
	if m.inside {
		errs = append(errs, cli.Depart(ctx, tools{m}))
	}
	return errors.Join(append(errs, m.putBack(ctx))...)
}

// putBack brings the state about that an adopted machine was found in.
func (m *machine) putBack(ctx context.Context) error {
	l, err := m.d.find(ctx, m.uuid)
	switch {
	case err != nil || l.State == m.found:
		return err
	case m.found == stopped:
		return m.shutDown(ctx)
	case m.found == suspended:
		return m.d.reach(ctx, m.uuid, suspended, m.d.run(ctx, "suspend", m.uuid))
	case m.found == paused:
		return m.d.reach(ctx, m.uuid, paused, m.d.run(ctx, "pause", m.uuid))
	}
	return m.goOn(ctx)
}

// shutDown lets the guest end by itself, or cuts its power if it does not.
func (m *machine) shutDown(ctx context.Context) error {
	if err := m.d.reach(ctx, m.uuid, stopped, m.d.run(ctx, "stop", m.uuid)); err == nil {
		return nil
	}
	return m.d.kill(ctx, m.uuid)
}

// A loan is what was made in a virtual machine of the user's that must go again:
// its snapshots, on which the disks of forks may lie. The last one that lies on
// them deletes them. There is none, nil, for machines of our own.
type loan struct {
	d    *driver
	uuid string

	mu    sync.Mutex
	users int
	ids   []string
}

// take counts one more user.
func (l *loan) take() *loan {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.users++
	}
	return l
}

// owe notes a snapshot.
func (l *loan) owe(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

// drop counts one user less.
func (l *loan) drop(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users > 0 {
		return nil
	}
	var errs []error
	for _, id := range slices.Backward(l.ids) {
		errs = append(errs, l.d.run(ctx, "snapshot-delete", l.uuid, "--id", id))
	}
	return errors.Join(errs...)
}
