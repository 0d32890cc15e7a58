package builtins

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/guest"
)

type waitForArgs struct {
	Machine *Machine        `star:"machine" help:"machine to wait for"`
	File    string          `star:"file?" help:"a path that must exist"`
	Port    int             `star:"port?" help:"a TCP port that something in the guest must listen on"`
	Unit    string          `star:"unit?" help:"a systemd unit that must be active"`
	Command command         `star:"command?" help:"a command that must exit with 0"`
	Timeout engine.Duration `star:"timeout?" help:"when to give up: the test fails"`
}

var waitFor = engine.Func("wait_for", "None",
	"Waits in the guest until a file exists, a port is open, a unit is active or a command succeeds.",
	waitForArgs{Timeout: engine.Duration(30 * time.Second)}, runWaitFor)

func runWaitFor(ctx context.Context, s *engine.Session, a waitForArgs) (starlark.Value, error) {
	what, err := a.what()
	if err != nil {
		return nil, err
	}
	s.Describe(what, a.Machine.vm.ID())
	clock := engine.NewClock(a.Machine.vm, time.Duration(a.Timeout))
	bounded, cancel := clock.Context(ctx, func() error { return context.DeadlineExceeded })
	defer cancel()
	err = a.Machine.use(ctx, func(c *guest.Client) error {
		if a.Command.words() != nil {
			return a.poll(bounded, c)
		}
		return c.Wait(bounded, guest.Condition{File: a.File, Port: a.Port, Unit: a.Unit})
	})
	switch infra := (*engine.InfraError)(nil); {
	case err == nil:
		return starlark.None, nil
	case bounded.Err() != nil && ctx.Err() == nil && !errors.As(err, &infra):
		return nil, &engine.SubjectError{Err: fmt.Errorf("wait_for: %s: not so after %s%s", what, a.Timeout, clock.Told())}
	}
	return nil, fmt.Errorf("wait_for: %s: %w", what, err)
}

// what says what is waited for, or that it is not exactly one thing.
func (a waitForArgs) what() (string, error) {
	var all []string
	if a.File != "" {
		all = append(all, "file "+a.File)
	}
	if a.Port != 0 {
		all = append(all, fmt.Sprintf("port %d", a.Port))
	}
	if a.Unit != "" {
		all = append(all, "unit "+a.Unit)
	}
	if a.Command.words() != nil {
		all = append(all, "command "+a.Command.String())
	}
	if len(all) != 1 {
		return "", engine.Scriptf("wait_for: got %d conditions, want one of file, port, unit, command", len(all))
	}
	if a.Port < 0 || a.Port > 65535 {
		return "", engine.Scriptf("wait_for: for parameter port: got %d, want between 1 and 65535", a.Port)
	}
	return all[0], nil
}

// poll runs the command until it succeeds.
func (a waitForArgs) poll(ctx context.Context, c *guest.Client) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		cmd := execArgs{Command: a.Command, Timeout: engine.Patience * a.Timeout}.command()
		exit, err := c.Exec(ctx, cmd, nil, nil, nil)
		if _, ok := notStarted(err); err != nil && !ok {
			return err
		}
		if err == nil && exit.Code == 0 && !exit.TimedOut {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
