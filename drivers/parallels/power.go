package parallels

import (
	"context"
	"fmt"

	"assay/drivers/internal/cli"
)

// reach waits for a state. failed is what the command said that was to bring it
// about.
func (d *driver) reach(ctx context.Context, id, want string, failed error) error {
	return d.until(ctx, fmt.Sprintf("the state %q of %s", want, id), failed, func(ctx context.Context) (bool, error) {
		e, err := d.find(ctx, id)
		return err == nil && e.Status == want, err
	})
}

// start starts a machine, or lets it go on.
func (d *driver) start(ctx context.Context, id string) error {
	_, err := d.do(ctx, cli.Call{Args: []string{"start", id}, Limit: d.boot})
	return d.reach(ctx, id, running, err)
}

// kill cuts the power. An unknown machine is fs.ErrNotExist; one that is off
// stays so.
func (d *driver) kill(ctx context.Context, id string) error {
	e, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	how := "--kill"
	switch e.Status {
	case stopped, "invalid":
		return nil
	case suspended:
		how = "--drop-state"
	}
	return d.reach(ctx, id, stopped, d.run(ctx, "stop", e.UUID, how))
}

// Suspend implements vm.Suspender: the guest stands still in memory.
func (m *machine) Suspend(ctx context.Context) error { return m.hold(ctx, "pause", paused) }

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error { return m.hold(ctx, "resume", running) }

func (m *machine) hold(ctx context.Context, verb, want string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.wrap(verb, err)
	}
	defer give()
	return m.wrap(verb, m.d.reach(ctx, m.uuid, want, m.d.run(ctx, verb, m.uuid)))
}
