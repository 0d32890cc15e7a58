package libvirt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

const (
	bootKVM   = time.Minute
	bootTCG   = 6 * time.Minute // a busy host's included
	resumeMax = time.Minute     // for a guest that was running when it was saved
	tunnelMax = 30 * time.Second
)

// bootMax is how long a guest may take until its agent answers.
func (s *site) bootMax() time.Duration {
	if s.accel == accelKVM {
		return bootKVM
	}
	return bootTCG
}

// pickUp takes hold of the sockets of a QEMU that has just started: it opens the
// way to them, if it is long, and keeps what the console says from now on.
func (m *machine) pickUp(ctx context.Context) error {
	m.letGo()
	if m.site.remote {
		os.RemoveAll(filepath.Join(m.ends, agentName)) // ssh takes no place that is taken
		os.RemoveAll(filepath.Join(m.ends, consoleName))
		t, err := m.site.forward(ctx, map[string]string{
			filepath.Join(m.ends, agentName):   m.sockets + "/" + agentName,
			filepath.Join(m.ends, consoleName): m.sockets + "/" + consoleName,
		})
		if err != nil {
			return err
		}
		m.tunnel = t
	}
	if m.adopted != nil {
		return nil // its console is its user's
	}
	conn, err := m.open(ctx, consoleName)
	if err != nil {
		if why := m.why(ctx); why != nil {
			err = why
		}
		return fmt.Errorf("console: %w", err)
	}
	go m.console.keep(conn) // until QEMU ends
	return nil
}

// letGo closes the way to the sockets.
func (m *machine) letGo() {
	if m.tunnel != nil {
		m.tunnel.Close()
		m.tunnel = nil
	}
}

// open connects to one of the machine's sockets.
func (m *machine) open(ctx context.Context, name string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(m.ends, name))
}

// forward makes sockets of another host appear here, for as long as the line that
// it returns is open.
func (s *site) forward(ctx context.Context, sockets map[string]string) (io.Closer, error) {
	t := *s.shell
	var ways []string
	for here, there := range sockets {
		ways = append(ways, "-L", here+":"+there)
	}
	t.Args = append(append(ways, "-o", "ExitOnForwardFailure=yes", "-o", "ControlPath=none"), s.shell.Args...)
	ctx, cancel := context.WithTimeout(ctx, tunnelMax)
	defer cancel()
	conn, err := t.Stream(ctx, "echo open; exec cat >/dev/null")
	if err != nil {
		return nil, err
	}
	// What ssh was asked to forward is open before the command runs.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	word, err := bufio.NewReader(conn).ReadString('\n')
	if !stop() || err != nil || word != "open\n" {
		conn.Close()
		return nil, fmt.Errorf("ssh: forwarding: got %.40q: %w", word, errors.Join(err, context.Cause(ctx)))
	}
	return conn, nil
}

// Dial opens the line to the agent and cuts the earlier one.
func (m *machine) Dial(ctx context.Context) (net.Conn, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, m.fail("dial", err)
	}
	defer give()
	return m.dial(ctx)
}

// dial is Dial for those who have the turn. The agent may not be listening yet:
// what is written waits for it.
func (m *machine) dial(ctx context.Context) (net.Conn, error) {
	conn, err := m.open(ctx, agentName)
	if err != nil {
		if why := m.why(ctx); why != nil {
			err = why
		}
		return nil, m.fail("dial", err)
	}
	return m.line.Take(cli.Explained(conn, m.whyEnded))
}

// fail says which machine an error is of.
func (m *machine) fail(what string, err error) error {
	return fmt.Errorf("libvirt: %s: %s: %w", m.name, what, err)
}

// await waits until the agent answers.
func (m *machine) await(ctx context.Context, limit time.Duration) (*guest.Client, error) {
	return cli.Await(ctx, cli.Boot{Dial: m.dial, Alive: m.why, Console: m.Console, Limit: limit})
}

// why says what became of a machine that does not answer; nil if nothing did, or
// libvirt does not tell.
func (m *machine) why(ctx context.Context) error {
	r, err := m.site.virsh.Run(ctx, "domstate", m.name, "--reason")
	if missing(err) {
		return errors.New("the domain is gone: somebody undefined it")
	}
	if err != nil {
		return nil // QEMU lives on while libvirt's daemon is away
	}
	return m.ending(r.Text())
}

// endMax is how long libvirt may take to notice that QEMU has ended, which takes
// QEMU a second or two after it has closed its sockets.
const endMax = 8 * time.Second

// whyEnded is why for a line that QEMU has closed.
func (m *machine) whyEnded(ctx context.Context) (why error) {
	ctx, cancel := context.WithTimeout(ctx, endMax)
	defer cancel()
	_ = cli.Until(ctx, "waiting for the end", func(ctx context.Context) (bool, error, error) {
		why = m.why(ctx)
		return why != nil, nil, nil
	}) // if it does not end, nobody knows why
	return why
}

// ending translates a domain's state, with its reason.
func (m *machine) ending(state string) error {
	switch state {
	case "shut off (destroyed)":
		return errors.New("the domain was destroyed by somebody")
	case "shut off (shutdown)":
		if line := lastWords(m.console.bytes()); line != "" {
			return &vm.StoppedError{How: line}
		}
		return &vm.StoppedError{How: "the guest shut itself down, or restarted"}
	case "shut off (crashed)", "crashed (panicked)":
		return &vm.StoppedError{How: "the guest's kernel panicked"}
	case "paused (I/O error)":
		return errors.New("the host cannot write the machine's disk: is it full?")
	case "shut off (failed)":
		return errors.New("QEMU did not start")
	}
	if strings.HasPrefix(state, "shut off") {
		return fmt.Errorf("the domain is %s", state)
	}
	return nil
}

// lastWords returns what a kernel said when it panicked.
func lastWords(console []byte) string {
	_, rest, found := bytes.Cut(console, []byte("Kernel panic"))
	if !found {
		return ""
	}
	line, _, _ := bytes.Cut(rest[:min(len(rest), 200)], []byte("\n"))
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, string(line))
	return "the guest's kernel panicked: Kernel panic" + clean
}

// maxConsole is how much of its console a machine returns.
const maxConsole = 1 << 20

// A tape keeps the end of what a console says.
type tape struct {
	mu  sync.Mutex
	buf []byte
}

// keep writes down what comes, until nothing does.
func (t *tape) keep(conn net.Conn) {
	defer conn.Close()
	io.Copy(t, conn) // the console of a machine that ends, ends
}

// Write implements io.Writer; it never fails.
func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*maxConsole {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-maxConsole:]...)
	}
	return len(p), nil
}

// bytes returns a copy of the last MiB.
func (t *tape) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.buf[max(0, len(t.buf)-maxConsole):])
}
