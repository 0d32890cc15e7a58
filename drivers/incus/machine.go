package incus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

var (
	_ vm.Machine           = (*machine)(nil)
	_ vm.Limited           = (*machine)(nil)
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Forker            = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
)

// A machine is one instance.
type machine struct {
	d     *driver
	s     *server
	id    string // the instance's name
	dir   string // removed with it; may be ""
	found *found // what an adopted one was like; nil for our own
	line  cli.Line
	turn  *cli.Turn

	// Below is only touched in turn.
	gone      bool // nothing is left
	snapshots map[string]saved
	taken     int                          // snapshots ever
	unplugged map[string]map[string]string // the cards that SetLink took out; nil: none
}

// ID returns the instance's name.
func (m *machine) ID() string { return m.id }

// Lacks implements vm.Limited.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	switch {
	case c == vm.CapMemory && m.s.container():
		return "a container's snapshots keep its files, and going back starts it again; for the memory too, use a server that runs virtual machines, or the driver qemu", true
	case c == vm.CapConsole && !m.s.container():
		return fmt.Sprintf("type \"%s console %s\"", m.s.tool.Name, m.id), true
	}
	return "", false
}

// KeepsMemory implements vm.MemorySnapshotter, for virtual machines.
func (m *machine) KeepsMemory() {}

// Dial implements vm.Machine: the line is the agent's standard input and output.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	if m.line.Closed() {
		return nil, fmt.Errorf("%s: the machine is closed: %w", m.id, net.ErrClosed)
	}
	began, err := m.s.state(ctx, m.id)
	if err != nil {
		return nil, fmt.Errorf("%s: dial: %w", m.id, err)
	}
	conn, err := m.s.tool.Stream(ctx, "exec", m.id, "-T", "--", cli.AgentPath, "stdio")
	if err != nil {
		return nil, fmt.Errorf("%s: dial: %w", m.id, err)
	}
	return m.line.Take(cli.Explained(conn, func(ctx context.Context) error { return m.fate(ctx, began.PID) }))
}

// How long a guest that ends takes from the end of its agent to its own: on a
// busy host, as long as its init does not say that all is as ever.
const (
	dying    = 5 * time.Second
	dyingMax = 30 * time.Second
)

// fate says what became of a machine whose line ended and whose guest's first
// process was pid; nil if it lives on. While the server is at something with the
// instance, which then is somebody else's doing, it waits.
func (m *machine) fate(ctx context.Context, pid int) error {
	somebody := false
	for began := time.Now(); ; {
		ops, err := m.s.operations(ctx, m.id)
		if err == nil && len(ops) == 0 {
			err = m.ended(ctx, pid, somebody)
			if lasted := time.Since(began); err != nil || lasted > dyingMax || lasted > dying && m.up(ctx) {
				return err
			}
		}
		if err != nil {
			return err
		}
		somebody = somebody || len(ops) > 0
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// upWords are what systemd says of a guest that is not about to end.
var upWords = []string{"initializing", "starting", "running", "degraded", "maintenance"}

// up reports whether the guest says that it is up: its word only makes a wait
// shorter.
func (m *machine) up(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, dying)
	defer cancel()
	said, _ := m.Exec(ctx, []string{"systemctl", "is-system-running"}, nil) // fails unless it is "running"
	return slices.Contains(upWords, strings.TrimSpace(string(said)))
}

func (m *machine) ended(ctx context.Context, pid int, somebody bool) error {
	st, err := m.s.state(ctx, m.id)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: the instance is gone, and not by this program", m.id)
	case err != nil:
		return err
	case st.Status != statusStopped && st.PID == pid:
		return nil
	case somebody:
		return fmt.Errorf("%s: the instance was stopped, and neither by this program nor by its guest", m.id)
	case st.Status == statusStopped:
		return &vm.StoppedError{How: "the guest shut itself down"}
	}
	return &vm.StoppedError{How: "the guest restarted"}
}

// Exec runs argv in the guest as root; see cli.Guest.
func (m *machine) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	r, err := m.s.tool.Do(ctx, cli.Call{Args: append([]string{"exec", m.id, "-T", "--"}, argv...), Stdin: stdin})
	return r.Stdout, err
}

// closeLimit is how long the end of a machine may take.
const closeLimit = 2 * time.Minute

// Close implements vm.Machine. After an error it can be tried again.
func (m *machine) Close() error {
	m.line.Close()
	_, give := m.turn.End()
	defer give()
	if m.gone {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	var err error
	if m.found != nil {
		err = m.leave(ctx)
	} else {
		err = m.s.destroy(ctx, m.id)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("incus: close: %s: %w", m.id, err)
	}
	m.gone = true
	if m.dir == "" {
		return nil
	}
	return os.RemoveAll(m.dir)
}

// maxConsole bounds what Console returns.
const maxConsole = 1 << 20

// Console implements vm.Consoler: what the present guest printed since it was
// started last.
func (m *machine) Console() ([]byte, error) {
	if m.line.Closed() {
		return nil, fmt.Errorf("%s: the machine is closed: %w", m.id, net.ErrClosed)
	}
	r, err := m.s.tool.Run(context.Background(), "console", m.id, "--show-log")
	if err != nil {
		return nil, fmt.Errorf("%s: console: %w", m.id, err)
	}
	text := bytes.TrimPrefix(r.Stdout, []byte("\nConsole log:\n\n"))
	return text[max(0, len(text)-maxConsole):], nil
}

// Suspend implements vm.Suspender.
func (m *machine) Suspend(ctx context.Context) error { return m.freeze(ctx, "freeze") }

// Resume implements vm.Suspender.
func (m *machine) Resume(ctx context.Context) error { return m.freeze(ctx, "unfreeze") }

func (m *machine) freeze(ctx context.Context, action string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", m.id, err)
	}
	defer give()
	if err := m.s.set(ctx, m.id, action, false); err != nil {
		return fmt.Errorf("%s: %s: %w", m.id, action, err)
	}
	return nil
}

// Usage implements vm.Usager.
func (m *machine) Usage(ctx context.Context) (vm.Usage, error) {
	st, err := m.s.state(ctx, m.id)
	if err != nil {
		return vm.Usage{}, fmt.Errorf("%s: usage: %w", m.id, err)
	}
	return vm.Usage{CPU: time.Duration(st.CPU.Usage), Memory: st.Memory.Usage, Disk: max(0, st.Disk["root"].Usage), PID: st.PID}, nil
}

// SetLink implements vm.Networker: it takes the network cards out, or puts back
// those that it took. A machine without a network has none to take.
func (m *machine) SetLink(ctx context.Context, up bool) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", m.id, err)
	}
	defer give()
	if up == (m.unplugged == nil) {
		return nil
	}
	own := m.unplugged
	err = m.s.edit(ctx, m.id, func(i instance) map[string]map[string]string {
		if !up {
			own = cards(i.Devices)
			return without(i)
		}
		return plugged(i, own)
	})
	if err != nil {
		return fmt.Errorf("%s: network: %w", m.id, err)
	}
	m.unplugged = own
	if up {
		m.unplugged = nil
	}
	return nil
}

// without returns an instance's own devices, in which each card is masked, that
// of a profile too.
func without(i instance) map[string]map[string]string {
	devices := i.Devices
	for name := range cards(i.AllDevices) {
		devices[name] = map[string]string{"type": "none"}
	}
	return devices
}

// plugged is the reverse: own are the cards that were the instance's own.
func plugged(i instance, own map[string]map[string]string) map[string]map[string]string {
	devices := i.Devices
	for name, d := range devices {
		if d["type"] == "none" {
			delete(devices, name)
		}
	}
	for name, d := range own {
		devices[name] = d
	}
	return devices
}
