//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"assay/guest"
)

const (
	maxSocketPath = 103      // bytes; 104 and an end on some systems, 108 on Linux
	socketPrefix  = "assay-" // of socket folders in the host's temporary folder
)

// listen makes the socket that QEMU will accept the agent's line on. Being open
// before QEMU starts, it can be dialled at once.
func listen(path string) (*os.File, error) {
	if err := os.RemoveAll(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return l.File()
}

// A line is a connection to the agent's port whose errors say what became of
// QEMU, if something did.
type line struct {
	net.Conn
	m *machine
	p *process
	w *watch
}

// Dial opens the line to the agent and cuts the earlier one. It waits while a
// snapshot is taken or restored.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	if err := m.lock(ctx); err != nil {
		return nil, fmt.Errorf("qemu: %s: dial: %w", m.hw.ID, err)
	}
	defer m.unlock()
	return m.dial(ctx)
}

// dial is Dial for those who have the token. The agent may not be listening
// yet: what is written waits for it.
func (m *machine) dial(ctx context.Context) (net.Conn, error) {
	p, err := m.process()
	if err != nil {
		return nil, err
	}
	m.cut()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(m.sockets, agentName))
	if err != nil {
		return nil, fmt.Errorf("qemu: %s: dial: %w", m.hw.ID, p.explain(ctx, err))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc != p || m.closed {
		conn.Close()
		return nil, fmt.Errorf("qemu: %s: dial: the machine changed meanwhile", m.hw.ID)
	}
	m.line = conn
	return &line{Conn: conn, m: m, p: p, w: &watch{nudge: func() { m.nudge(p) }}}, nil
}

// Greeted hands over the line on which the guest was renewed. See guest.Greeter.
func (m *machine) Greeted() *guest.Client {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.greeted
	m.greeted = nil
	if c == nil || c.Err() != nil {
		return nil
	}
	return c
}

// cut ends the line that was dialled last.
func (m *machine) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.line != nil {
		m.line.Close()
		m.line = nil
	}
	if m.greeted != nil {
		m.greeted.Close()
		m.greeted = nil
	}
}

// hangUp cuts the line and waits until QEMU has told the guest. Told later, in
// the middle of a save, it would write to memory that is saved already, and the
// state would not load.
func (m *machine) hangUp(ctx context.Context, p *process) error {
	m.cut()
	return p.poll(ctx, "query-chardev", func(answer json.RawMessage) (bool, error) {
		var chardevs []struct{ Label, Filename string }
		if err := json.Unmarshal(answer, &chardevs); err != nil {
			return false, err
		}
		for _, c := range chardevs {
			if c.Label == "agent" {
				return strings.HasPrefix(c.Filename, "disconnected:"), nil
			}
		}
		return false, fmt.Errorf("query-chardev: got %.200s, want the agent's", answer)
	})
}

// Read reads from the agent.
func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.w.answered()
	return n, l.reason(err)
}

// Write writes to the agent.
func (l *line) Write(b []byte) (int, error) {
	l.w.asked()
	n, err := l.Conn.Write(b)
	return n, l.reason(err)
}

// reason says why the line ended, as far as the driver knows. A deadline stays
// what it is.
func (l *line) reason(err error) error {
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if errors.Is(err, net.ErrClosed) && !l.p.gone() {
		return err
	}
	if why := l.p.explain(context.Background(), err); why != err {
		return fmt.Errorf("qemu: %s: %w", l.m.hw.ID, why)
	}
	return err
}
