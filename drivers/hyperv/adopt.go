package hyperv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// ssh is the way into a guest that is not ours: PowerShell Direct knows Windows
// guests only. Who logs in there, and with which key, the user's ssh
// configuration says; that user needs sudo without a password.
func ssh() *cli.Tool {
	return &cli.Tool{
		Driver: name, Name: "ssh", Fix: "Add-WindowsCapability -Online -Name OpenSSH.Client~~~~0.0.1.0",
		Args: []string{"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10"},
	}
}

// Adopt implements vm.Adopter. The guest needs an ssh server, and must tell
// Hyper-V its address, as guests with Hyper-V's daemons do.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hyperv: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	if _, err := d.Probe(ctx); err != nil {
		return nil, err
	}
	v, err := d.lent(ctx, name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{running, off, saved, paused}, v.State) {
		return nil, fmt.Errorf("the virtual machine is %s, want it Running, Off, Saved or Paused: %w", v.State, cli.ErrState)
	}
	m := d.machine(v.Name, spec.Dir)
	m.id, m.found = v.ID, v.State
	m.line = &guestLine{m: m}
	if err := m.enter(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// lent returns the one machine that the user means by a name, or by an id if
// others share the name.
func (d *driver) lent(ctx context.Context, name string) (view, error) {
	all, err := d.list(ctx)
	if err != nil {
		return view{}, err
	}
	var list []cli.Listed
	for _, v := range all {
		list = append(list, cli.Listed{ID: v.ID, Name: v.Name, State: v.State})
	}
	l, err := cli.Pick(list, "Hyper-V", name)
	if err == nil {
		err = cli.LentOf(list, name, l)
	}
	if err != nil {
		return view{}, err
	}
	return all[slices.Index(list, l)], nil
}

// enter lets an adopted machine run, and puts the agent in.
func (m *machine) enter(ctx context.Context) error {
	if err := m.change(ctx, "start", about{m.id}, running); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	inside := guestShell{m}
	err := cli.Until(limit, "waiting for the guest's ssh server", func(ctx context.Context) (bool, error, error) {
		_, err := inside.Exec(ctx, []string{"true"}, nil)
		if err == nil || ctx.Err() != nil {
			return err == nil, nil, nil
		}
		return false, err, m.alive(ctx)
	})
	if err != nil && ctx.Err() == nil {
		return &vm.BootError{Err: err}
	}
	if err != nil {
		return err
	}
	return cli.Enter(ctx, inside, m.d.agents)
}

// giveBack takes out of an adopted machine what was put in, and leaves it in the
// state that it was found in.
func (m *machine) giveBack(ctx context.Context) error {
	var errs []error
	v, err := m.d.show(ctx, m.id)
	if err != nil {
		return err
	}
	if v.State != running {
		errs = append(errs, m.change(ctx, "start", about{m.id}, running))
	}
	if m.pulled() {
		errs = append(errs, m.plug(ctx, true))
	}
	errs = append(errs, cli.Leave(ctx, guestShell{m}), m.forget(ctx), m.putBack(ctx))
	return errors.Join(errs...)
}

// putBack brings the state about that an adopted machine was found in.
func (m *machine) putBack(ctx context.Context) error {
	switch m.found {
	case off:
		return m.change(ctx, "stop", map[string]any{"id": m.id, "soft": true}, off)
	case saved:
		return m.change(ctx, "save", about{m.id}, saved)
	case paused:
		return m.change(ctx, "hold", hold{m.id, true}, paused)
	}
	return nil
}

// A guestShell is a guest as its ssh server shows it.
type guestShell struct{ m *machine }

var _ cli.Guest = guestShell{}

// args are those of an ssh call. The words of the command come as one, quoted for
// the guest's shell, for ssh only puts blanks between them.
func (g guestShell) args(ctx context.Context, argv []string) ([]string, error) {
	v, err := g.m.d.show(ctx, g.m.id)
	if err != nil {
		return nil, err
	}
	for _, a := range v.Addresses {
		ip := net.ParseIP(a)
		if ip != nil && ip.To4() != nil && ip.IsGlobalUnicast() {
			return []string{ip.String(), "--", quote(append([]string{"sudo", "-n"}, argv...))}, nil
		}
	}
	return nil, fmt.Errorf("the guest tells Hyper-V no IPv4 address; install hyperv-daemons there and give it a network: %w", cli.ErrNoTools)
}

// Exec implements cli.Guest.
func (g guestShell) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	args, err := g.args(ctx, argv)
	if err != nil {
		return nil, err
	}
	r, err := g.m.d.ssh.Do(ctx, cli.Call{Args: args, Stdin: stdin})
	return r.Stdout, err
}

// quote makes one line of a shell of a command.
func quote(argv []string) string {
	var line strings.Builder
	for i, word := range argv {
		if i > 0 {
			line.WriteByte(' ')
		}
		line.WriteString("'" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	return line.String()
}

// A guestLine is the line of a machine that is not ours.
type guestLine struct {
	m *machine
	cli.Line
}

// Dial implements line.
func (l *guestLine) Dial(ctx context.Context) (net.Conn, error) {
	args, err := guestShell{l.m}.args(ctx, []string{cli.AgentPath, "stdio"})
	if err != nil {
		return nil, err
	}
	conn, err := l.m.d.ssh.Stream(ctx, args...)
	if err != nil {
		return nil, err
	}
	return l.Take(cli.Explained(conn, l.m.alive))
}
