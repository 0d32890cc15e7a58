package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// shutdownLimit is how long a guest may take to shut down, after the power button.
const shutdownLimit = 30 * time.Second

// A visit is what is put into a machine of the user's, and must go again.
type visit struct {
	control control
	cable   string // whether the network cable was in: "on", "off"
	port    bool   // the second serial port is ours
	inside  bool   // the agent is in the guest
}

// Adopt uses a machine of the user's that is switched off: it gets a second serial
// port for as long as it is used. The agent gets in through the Guest Additions,
// by an account that ASSAY_GUEST_USER and ASSAY_GUEST_PASSWORD name.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("virtualbox: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	if _, err := d.manage.Path(); err != nil {
		return nil, d.manage.Unavailable(err)
	}
	i, err := d.info(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := cli.Lent(name, i["name"], i["UUID"], false); err != nil {
		return nil, err
	}
	if err := adoptable(i); err != nil {
		return nil, err
	}
	account, err := cli.GuestAccount()
	if err != nil {
		return nil, err
	}
	m := d.machine(i["name"], spec)
	m.id, m.home = i["UUID"], spec.Dir
	m.user = &visit{cable: i["cableconnected1"], control: control{tool: guestTool(d.manage), id: m.id, account: account, dir: spec.Dir}}
	if m.Socket, err = cli.SocketIn(spec.Dir); err == nil {
		err = m.enter(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// adoptable refuses a machine that cannot have our line.
func adoptable(i info) error {
	unsupported := func(want, instead string) error {
		return &vm.UnsupportedError{Machine: i["name"], Want: want, Instead: instead}
	}
	switch {
	case stateOf(i["VMState"]) != off:
		return unsupported("a machine that is "+i["VMState"], "shut it down: assay starts it, with a serial port more")
	case i["uart2"] != "" && i["uart2"] != "off":
		return unsupported("a machine whose second serial port is in use", `free it: "VBoxManage modifyvm NAME --uart2 off"`)
	}
	return nil
}

// enter starts the machine with a port for the line, and puts the agent in.
func (m *machine) enter(ctx context.Context) error {
	v := m.user
	if err := v.control.prepare(); err != nil {
		return err
	}
	v.port = true
	if _, err := m.d.run(ctx, "modifyvm", m.id, "--uart2", "0x2F8", "3", "--uartmode2", "server", m.Socket); err != nil {
		return err
	}
	if err := m.start(ctx); err != nil {
		return err
	}
	if err := cli.Inhabited(ctx, v.control, fixTools, m.alive); err != nil {
		return err
	}
	v.inside = true
	if err := cli.Enter(ctx, v.control, m.d.agents); err != nil {
		return err
	}
	if err := cli.Serve(ctx, v.control, "port "+port); err != nil {
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
	s, _, err := m.d.state(ctx, m.id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its owner was first
	}
	v, errs := m.user, []error{err}
	if s == paused {
		errs = append(errs, m.hold(ctx, false))
	}
	if v.inside && (s == paused || s == running) {
		errs = append(errs, cli.Depart(ctx, v.control), m.shutDown(ctx))
	}
	errs = append(errs, m.d.powerOff(ctx, m.id), m.forgetSnapshots(ctx))
	errs = append(errs, m.putBack(ctx))
	return errors.Join(append(errs, cli.RemoveSocket(m.Socket))...)
}

// putBack makes the settings what they were.
func (m *machine) putBack(ctx context.Context) error {
	i, err := m.d.info(ctx, m.id)
	if err == nil && i["cableconnected1"] != m.user.cable {
		_, err = m.d.run(ctx, "modifyvm", m.id, "--cableconnected1", m.user.cable)
	}
	if m.user.port {
		_, uart := m.d.run(ctx, "modifyvm", m.id, "--uart2", "off")
		err = errors.Join(err, uart)
	}
	return err
}

// shutDown presses the power button and waits a while for the guest.
func (m *machine) shutDown(ctx context.Context) error {
	if _, err := m.d.run(ctx, "controlvm", m.id, "acpipowerbutton"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	if err := m.d.until(ctx, m.id, off); err != nil && ctx.Err() == nil {
		return err
	}
	return nil // who did not hear the button loses the power
}

// forgetSnapshots deletes the snapshots that were taken of the user's machine.
func (m *machine) forgetSnapshots(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for name, id := range m.snapshots {
		if _, err := m.d.run(ctx, "snapshot", m.id, "delete", id); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("snapshot %q: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// A control runs commands in a guest through its Guest Additions. It is a
// cli.Guest.
type control struct {
	tool    *cli.Tool
	id      string
	account cli.Account
	dir     string // for what goes in
}

// guestTool is VBoxManage when it passes on what a guest says: that a program
// there complains means nothing.
func guestTool(t *cli.Tool) *cli.Tool {
	own := *t
	own.Errors = nil
	for _, p := range t.Errors {
		p.Always = false
		own.Errors = append(own.Errors, p)
	}
	return &own
}

func (c control) passwordFile() string { return filepath.Join(c.dir, "password") }

// prepare writes the password where only VBoxManage reads it: arguments are for
// everybody on the host to see.
func (c control) prepare() error {
	return os.WriteFile(c.passwordFile(), []byte(c.account.Password), 0o600)
}

func (c control) args(verb string, more ...string) []string {
	return append([]string{"guestcontrol", c.id, verb, "--username", c.account.User, "--passwordfile", c.passwordFile()}, more...)
}

// Exec runs a command as root. Input goes in as a file: guestcontrol passes none.
func (c control) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	if stdin != nil {
		file, err := c.put(ctx, stdin)
		if err != nil {
			return nil, err
		}
		argv = append([]string{"sh", "-c", `f=$1; shift; "$@" <"$f"; code=$?; rm -f "$f"; exit $code`, "sh", file}, argv...)
	}
	args := c.args("run", append([]string{"--wait-stdout", "--wait-stderr", "--"}, c.account.AsRoot(argv)...)...)
	r, err := c.tool.Run(ctx, args...)
	return r.Stdout, err
}

// put copies data to a new file of the guest's.
func (c control) put(ctx context.Context, data io.Reader) (string, error) {
	f, err := os.CreateTemp(c.dir, "assay-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, data)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	const folder = "/tmp/" // an older VBoxManage wants a folder
	_, err = c.tool.Run(ctx, c.args("copyto", "--target-directory", folder, f.Name())...)
	return folder + filepath.Base(f.Name()), err
}
