package incus

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// How long a guest may take to boot.
const (
	containerLimit = 2 * time.Minute
	vmLimit        = 10 * time.Minute
	logLimit       = 10 * time.Second // for what the server knows of one that did not
)

// ready.sh waits in the guest for the end of its boot.
//
//go:embed ready.sh
var readyScript string

// boot starts an instance unless it runs, waits until the guest has booted, and
// puts the agent in if it is not there.
func (m *machine) boot(ctx context.Context) error {
	limit := containerLimit
	if !m.s.container() {
		limit = vmLimit
	}
	limit = cmp.Or(m.d.patience, limit)
	inner, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer from the guest in %s", limit))
	defer cancel()
	err := m.s.set(inner, m.id, "start", false)
	if err == nil || errors.Is(err, cli.ErrState) { // it runs
		err = m.settle(inner)
	}
	if err != nil && ctx.Err() == nil && (inner.Err() != nil || initFailed(err) || !errors.Is(err, cli.ErrDaemon) && m.fell(ctx)) {
		return m.bootError(ctx, err)
	}
	return err
}

// fell reports whether the guest, which was started, is off again, or about to be.
func (m *machine) fell(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dying)
	defer cancel()
	return cli.Until(ctx, "the end of the guest", func(ctx context.Context) (bool, error, error) {
		st, err := m.s.state(ctx, m.id)
		return st.Status == statusStopped, nil, err
	}) == nil
}

// initFailed reports whether it was the guest's first program that could not be
// started.
func initFailed(err error) bool {
	e, ok := errors.AsType[*cli.Error](err)
	return ok && strings.Contains(e.Said, " forkstart ")
}

// settle waits for the end of the boot, and sees to it that the agent is there.
func (m *machine) settle(ctx context.Context) error {
	var said []byte
	var early error
	err := cli.Until(ctx, "waiting for the guest", func(ctx context.Context) (bool, error, error) {
		var err error
		said, err = m.Exec(ctx, []string{"sh", "-c", readyScript}, nil)
		switch {
		case errors.Is(err, cli.ErrNoTools): // a virtual machine's own agent is not up yet
			early = err
			return false, err, nil
		case err != nil && early != nil:
			err = fmt.Errorf("%w; before: %w", err, early)
		}
		return true, nil, err
	})
	if err != nil || strings.TrimSpace(string(said)) == "agent" {
		return err
	}
	return cli.Enter(ctx, m, m.d.cfg.Agents)
}

// bootError says why the guest did not come up, with the end of its console.
func (m *machine) bootError(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(ctx, logLimit)
	defer cancel()
	r, _ := m.s.tool.Run(ctx, "info", "--show-log", m.id) // what it has not is not told
	_, log, _ := strings.Cut(r.Text(), "\nLog:")
	if why := firstError(log); why != "" {
		err = fmt.Errorf("%w; its log says %.300q", err, why)
	}
	var console []byte
	if _, lacks := m.Lacks(vm.CapConsole); !lacks {
		console, _ = m.Console()
	}
	console = append(console, log...)
	return &vm.BootError{Err: err, Console: console[max(0, len(console)-64<<10):]}
}

// firstError returns the first complaint of a container's log.
func firstError(log string) string {
	for line := range strings.Lines(log) {
		if _, why, found := strings.Cut(line, " ERROR "); found {
			return strings.Join(strings.Fields(why), " ")
		}
	}
	return ""
}

// found is what an adopted instance was like.
type found struct{ status string }

// Adopt implements vm.Adopter.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	s, err := d.server(ctx)
	if err != nil {
		return nil, err
	}
	i, err := s.instance(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("incus: %s: %w", name, err)
	}
	its := *s
	its.kind = i.Type
	m := d.machine(&its, name, spec.Dir)
	m.found = &found{status: i.Status}
	progress(spec, "adopting")
	if err := m.enter(ctx); err != nil {
		return nil, fmt.Errorf("incus: %s: %w", name, errors.Join(err, m.Close()))
	}
	return m, nil
}

// enter starts an adopted instance and puts the agent in.
func (m *machine) enter(ctx context.Context) error {
	if err := m.thaw(ctx); err != nil {
		return err
	}
	if err := m.boot(ctx); err != nil {
		return err
	}
	return cli.Enter(ctx, m, m.d.cfg.Agents)
}

// leave gives an adopted instance back.
func (m *machine) leave(ctx context.Context) error {
	var problems []error
	for _, s := range m.snapshots {
		err := m.s.change(ctx, m.id, "DELETE", instancePath(m.id)+"/snapshots/"+s.name, nil)
		if !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if m.unplugged != nil {
		problems = append(problems, m.s.edit(ctx, m.id, func(i instance) map[string]map[string]string {
			return plugged(i, m.unplugged)
		}))
	}
	if err := m.thaw(ctx); err != nil {
		return errors.Join(append(problems, err)...)
	}
	problems = append(problems, cli.Leave(ctx, m))
	switch m.found.status {
	case statusStopped:
		problems = append(problems, m.stop(ctx))
	case statusFrozen:
		problems = append(problems, m.s.set(ctx, m.id, "freeze", false))
	}
	return errors.Join(problems...)
}

// stop shuts an instance down, by force if it does not listen.
func (m *machine) stop(ctx context.Context) error {
	err := m.s.set(ctx, m.id, "stop", false)
	if err == nil || errors.Is(err, cli.ErrState) {
		return nil
	}
	return m.s.set(ctx, m.id, "stop", true)
}
