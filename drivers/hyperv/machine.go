package hyperv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

var (
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Forker            = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Screenshotter     = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
)

// How long things may take.
const (
	bootLimit    = 5 * time.Minute  // until the agent answers; the first boot runs cloud-init
	copyLimit    = 30 * time.Minute // for the disks of a base or of a fork
	stateLimit   = time.Minute      // for a state that was asked for
	closeLimit   = 50 * time.Second // the engine waits a little longer
	restoreLimit = 5 * time.Minute
)

// A machine is one virtual machine.
type machine struct {
	d     *driver
	name  string // what Hyper-V calls it: not unique there
	id    string // a GUID; "" until it is there
	dir   string // spec.Dir: empty, but it goes with the machine
	found string // the state that an adopted machine was in; "" for our own

	pipe   string // the host's end of the serial port that the line is
	socket bool   // the line is a Hyper-V socket instead
	line   line

	turn    *cli.Turn
	console console

	mu          sync.Mutex
	checkpoints map[string]string // GUIDs, by the names that scripts gave
	network     string            // the switch that the cable leads to; "" if there is none
	down        bool              // the cable was pulled
}

// A line is how the agent is reached.
type line interface {
	Dial(ctx context.Context) (net.Conn, error) // cuts the earlier one
	Cut()
	Close()
}

// machine returns a machine that Hyper-V does not know yet.
func (d *driver) machine(name, dir string) *machine {
	return &machine{d: d, name: name, dir: dir, turn: cli.NewTurn(), checkpoints: map[string]string{}}
}

// ID returns what Hyper-V calls the machine.
func (m *machine) ID() string { return m.name }

func (m *machine) path(file string) string { return filepath.Join(m.d.place.Dir(m.name), file) }

// failed says which machine an error is about.
func (m *machine) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %s: %w", name, m.name, what, err)
}

// inTurn does something to the machine when nobody else does.
func (m *machine) inTurn(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.failed(what, err)
	}
	defer give()
	return m.failed(what, do(ctx))
}

// The states in which a machine stays until somebody does something. Others have
// a word in between, such as Starting, or end with Critical.
const (
	running = "Running"
	off     = "Off"
	saved   = "Saved"
	paused  = "Paused"
)

// A view is what Hyper-V says of a machine.
type view struct {
	ID, Name, State string
	Addresses       []string // of the guest, if it tells
}

// about is the input of scripts about one machine.
type about struct {
	ID string `json:"id"`
}

// list returns all machines.
func (d *driver) list(ctx context.Context) ([]view, error) {
	var all struct{ Machines []view }
	return all.Machines, d.ask(ctx, "list", nil, &all)
}

// show returns one machine. One that is gone is fs.ErrNotExist.
func (d *driver) show(ctx context.Context, id string) (view, error) {
	var v view
	return v, d.ask(ctx, "show", about{id}, &v)
}

// until waits until a machine is in a state.
func (d *driver) until(ctx context.Context, id string, want ...string) error {
	ctx, cancel := context.WithTimeout(ctx, stateLimit)
	defer cancel()
	return cli.Until(ctx, "waiting for the state "+strings.Join(want, " or "), func(ctx context.Context) (bool, error, error) {
		v, err := d.show(ctx, id)
		if err != nil && ctx.Err() != nil {
			err = nil // the end of the waiting is no answer
		}
		for _, w := range want {
			if v.State == w {
				return true, nil, nil
			}
		}
		return false, fmt.Errorf("it is %q", v.State), err
	})
}

// change runs a script that is to bring a state about, and waits for that.
func (m *machine) change(ctx context.Context, verb string, in any, want ...string) error {
	var now struct{ State string }
	if err := m.d.ask(ctx, verb, in, &now); err != nil {
		return err
	}
	for _, w := range want {
		if now.State == w {
			return nil
		}
	}
	return m.d.until(ctx, m.id, want...)
}

// boot starts the machine for the first time, and waits until it is ready.
func (m *machine) boot(ctx context.Context, spec vm.Spec) error {
	c, err := m.wake(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := cli.CloudInit(ctx, c); err != nil {
		return err
	}
	m.console.wait(ctx)
	if spec.Disk > spec.Image.Size {
		return cli.Grow(ctx, c)
	}
	return nil
}

// run starts the machine, or lets it run on from its saved memory, and waits for
// the agent.
func (m *machine) run(ctx context.Context) error {
	c, err := m.wake(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// wake starts the machine and waits until the agent answers.
func (m *machine) wake(ctx context.Context) (*guest.Client, error) {
	if m.pipe != "" {
		m.console.follow(m.pipe + consoleEnd)
	}
	if err := m.change(ctx, "start", about{m.id}, running); err != nil {
		return nil, err
	}
	return cli.Await(ctx, cli.Boot{Dial: m.line.Dial, Alive: m.alive, Console: m.Console, Limit: bootLimit})
}

// alive says why the machine does not run any more; nil if it does.
func (m *machine) alive(ctx context.Context) error {
	v, err := m.d.show(ctx, m.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("somebody removed the machine from Hyper-V: %w", err)
	case err != nil:
		return err
	case v.State == off:
		return &vm.StoppedError{How: "the guest shut itself down (Off)"}
	case v.State == saved:
		return errors.New("somebody saved and stopped the machine (Saved)")
	case strings.HasSuffix(v.State, "Critical"):
		return fmt.Errorf("Hyper-V has lost the machine's disk (%s)", v.State)
	}
	return nil
}

// Dial opens the line to the agent and cuts the earlier one.
func (m *machine) Dial(ctx context.Context) (conn net.Conn, err error) {
	err = m.inTurn(ctx, "dial", func(ctx context.Context) error {
		if conn, err = m.line.Dial(ctx); err != nil {
			return errors.Join(m.alive(ctx), err)
		}
		return nil
	})
	return conn, err
}

// Close destroys the machine. One that was adopted goes back to what it was.
func (m *machine) Close() error {
	first, give := m.turn.End()
	defer give()
	if m.line != nil {
		m.line.Close()
	}
	m.console.close()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var err error
	if m.found != "" {
		err = m.giveBack(ctx)
	} else if err = m.d.remove(ctx, m.name); errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody was first
	}
	return errors.Join(m.failed("close", err), os.RemoveAll(m.dir))
}

// remove destroys a machine by its name, whatever it does.
func (d *driver) remove(ctx context.Context, name string) error {
	return d.place.Remove(ctx, name, d.destroy)
}

// destroy lets Hyper-V forget a machine, and deletes its files.
func (d *driver) destroy(ctx context.Context, name string, n cli.Note) error {
	var done struct{ Removed int }
	err := d.ask(ctx, "remove", map[string]string{"id": n.ID, "name": name, "folder": d.place.Dir(name)}, &done)
	switch {
	case errors.Is(err, cli.ErrNotInstalled):
		return fs.ErrNotExist
	case err == nil && done.Removed == 0:
		return fs.ErrNotExist
	}
	return err
}
