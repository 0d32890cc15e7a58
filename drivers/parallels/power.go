package parallels

import (
	"context"
	"fmt"

	"assay/drivers/internal/cli"
)

// reach waits for a state. failed is what the command said that was to bring it
// about.
func (d *driver) reach(ctx context.Context, id, want string, failed error) error {
	return d.arrival(fmt.Sprintf("the state %q of %s", want, id), failed).Wait(ctx, func(ctx context.Context) (bool, error) {
		l, err := d.find(ctx, id)
		return err == nil && l.State == want, err
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
	l, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	how := "--kill"
	switch l.State {
	case stopped, "invalid":
		return nil
	case suspended:
		how = "--drop-state"
	}
	return d.reach(ctx, id, stopped, d.run(ctx, "stop", l.ID, how))
}

// Suspend implements vm.Suspender: the guest stands still in memory.
func (m *machine) Suspend(ctx context.Context) error { return m.hold(ctx, "pause", paused) }

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error { return m.hold(ctx, "resume", running) }

func (m *machine) hold(ctx context.Context, verb, want string) error {
	return m.Control(ctx, verb, func(ctx context.Context) error {
		return m.d.reach(ctx, m.uuid, want, m.d.run(ctx, verb, m.uuid))
	})
}
