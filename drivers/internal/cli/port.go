package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"assay/guest"
	"assay/vm"
)

// closeLimit is how long a driver may take to destroy a machine; the engine waits
// a little longer.
const closeLimit = 50 * time.Second

// A Port is a machine whose line takes one caller at a time, such as a serial port
// that the hypervisor offers as a socket or pipe, and which changes in turns. Its fields are set before its first
// use; its methods are safe for concurrent use.
type Port struct {
	Driver, Machine string // for errors
	Socket          string // the path of the socket or pipe, on which the hypervisor listens

	// Connect opens the line, if it is not Socket.
	Connect func(ctx context.Context) (net.Conn, error)

	// Alive says why the machine does not run any more; nil if it does.
	Alive func(ctx context.Context) error

	turn *Turn
	line Line
}

// NewPort returns the port of a new machine.
func NewPort(driver, machine string, alive func(context.Context) error) *Port {
	return &Port{Driver: driver, Machine: machine, Alive: alive, turn: NewTurn()}
}

// Control does something with the machine, in turn. what is a word for its error.
func (p *Port) Control(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, give, err := p.turn.Take(ctx)
	if err == nil {
		err = do(ctx)
		give()
	}
	return p.failed(what, err)
}

// failed says which machine an error is about.
func (p *Port) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %s: %w", p.Driver, p.Machine, what, err)
}

// Dial opens the line to the agent and cuts the earlier one.
func (p *Port) Dial(ctx context.Context) (conn net.Conn, err error) {
	err = p.Control(ctx, "dial", func(ctx context.Context) error {
		if conn, err = p.dial(ctx); err != nil {
			return errors.Join(p.Alive(ctx), err)
		}
		return nil
	})
	return conn, err
}

// dial is Dial for those who have the turn. The port has one listener, which takes
// one caller at a time: the earlier must go first.
func (p *Port) dial(ctx context.Context) (net.Conn, error) {
	p.line.Cut()
	connect := p.Connect
	if connect == nil {
		connect = func(ctx context.Context) (net.Conn, error) { return DialPipe(ctx, p.Socket) }
	}
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	return p.line.Take(Explained(conn, p.Alive))
}

// Await waits until the agent of a guest that boots, or was resumed, answers. It
// is for those who have the turn.
func (p *Port) Await(ctx context.Context, console func() ([]byte, error), limit time.Duration) (*guest.Client, error) {
	return Await(ctx, Boot{Dial: p.dial, Alive: p.Alive, Console: console, Limit: limit})
}

// Cut ends the line that there is.
func (p *Port) Cut() { p.line.Cut() }

// ClearSocket removes what lies where the hypervisor is about to listen.
func (p *Port) ClearSocket() error {
	if err := os.Remove(p.Socket); pipePrefix == "" && err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// End closes the machine, once: what is being done ends, the line too, and destroy
// is called, for which a machine that is gone is no error. dir, spec.Dir, goes
// with it.
func (p *Port) End(dir string, destroy func(context.Context) error) error {
	first, give := p.turn.End()
	defer give()
	p.line.Close()
	if !first {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := destroy(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody was first
	}
	return errors.Join(p.failed("close", err), os.RemoveAll(dir))
}

// OnlyAMD64 refuses an image for another processor.
func OnlyAMD64(driver string, img vm.Image) error {
	if img.Arch == "" || img.Arch == "amd64" {
		return nil
	}
	return &vm.UnsupportedError{
		Machine: driver, Want: fmt.Sprintf("image %q, which is for %s,", img.Name, img.Arch),
		Instead: "use an image for amd64; on a Mac with Apple silicon, the drivers utm, parallels and lima run such images",
	}
}
