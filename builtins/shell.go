package builtins

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"

	"assay/engine"
	"assay/guest"
)

// serve lets other processes of this user reach the machine's guest through its
// control socket, for "assay shell". Who connects speaks the guest's own
// protocol; what may be asked there is forwarded on the machine's line.
func (m *Machine) serve(s *engine.Session) error {
	l, err := s.Listen(m.vm)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.OnClose(cancel)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed with the machine
			}
			go m.serveOne(ctx, conn)
		}
	}()
	return nil
}

// serveOne answers one visitor. How the visit ends is the visitor's matter.
func (m *Machine) serveOne(ctx context.Context, conn net.Conn) {
	server := guest.Server{System: forward{m}}
	_ = server.Serve(ctx, conn)
}

// forward is a guest.System that passes what a shell needs on to a machine.
type forward struct{ machine *Machine }

// errShell refuses what a visitor may not do.
var errShell = errors.ErrUnsupported

// Info implements guest.System.
func (f forward) Info(ctx context.Context) (guest.Info, error) {
	c, err := f.machine.line(ctx)
	if err != nil {
		return guest.Info{}, err
	}
	return c.Info(ctx)
}

// Exec implements guest.System.
func (f forward) Exec(ctx context.Context, cmd guest.Command, s guest.Streams) (guest.Exit, error) {
	c, err := f.machine.line(ctx)
	if err != nil {
		return guest.Exit{}, err
	}
	if cmd.TTY != nil {
		return c.Terminal(ctx, cmd, s.Stdin, s.Stdout, s.Sizes)
	}
	return c.Exec(ctx, cmd, s.Stdin, s.Stdout, s.Stderr)
}

// Receive implements guest.System.
func (f forward) Receive(context.Context, string, guest.PushOptions, io.Reader) (guest.TransferStats, error) {
	return guest.TransferStats{}, errShell
}

// Send implements guest.System.
func (f forward) Send(context.Context, string, guest.PullOptions, io.Writer) (guest.TransferStats, error) {
	return guest.TransferStats{}, errShell
}

// ReadFile implements guest.System.
func (f forward) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	c, err := f.machine.line(ctx)
	if err != nil {
		return nil, err
	}
	return c.ReadFile(ctx, path, limit)
}

// WriteFile implements guest.System.
func (f forward) WriteFile(context.Context, string, []byte, fs.FileMode, string) error {
	return errShell
}

// Wait implements guest.System.
func (f forward) Wait(ctx context.Context, cond guest.Condition) error {
	c, err := f.machine.line(ctx)
	if err != nil {
		return err
	}
	return c.Wait(ctx, cond)
}

// Renew implements guest.System.
func (f forward) Renew(context.Context, guest.Identity) error { return errShell }

var _ guest.System = forward{}

// DialShell connects to the guest of a live machine, whichever process owns it.
// The caller closes the client.
func DialShell(ctx context.Context, l engine.Live) (*guest.Client, error) {
	conn, err := engine.DialLive(ctx, l)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &engine.InfraError{Err: errors.New("shell: " + l.Name + ": the machine is gone, or still booting; see \"assay ps\"")}
	}
	if err != nil {
		return nil, err
	}
	return guest.Connect(ctx, conn)
}
