// Package standin is a hypervisor's host for tests: executables that stand in
// for a hypervisor's commands, and made-up guests for them to manage.
//
// A stand-in executable is the test binary itself under another name. Each of
// its calls is played by a function in the test process, so that state is plain
// Go and the driver under test goes all the way through processes, pipes and
// exit codes. The guests are fake ones, as in package fake, with a power switch.
//
// It knows no hypervisor: what a command's arguments mean, and in which words
// it answers, its player knows.
package standin

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
)

// A Host is one pretended computer with a hypervisor. It lives as long as the
// test. Its methods are safe for concurrent use.
type Host struct {
	t        testing.TB
	dir      string // of the executables and of the socket
	listener net.Listener
	life     context.Context
	end      context.CancelFunc
	accepted chan struct{} // the accepting is over
	players  sync.WaitGroup

	mu     sync.Mutex
	tools  map[string]func(*Call) int
	halves map[string]net.Conn // streams whose call has not begun yet, by "id stream"
	live   map[*Call]net.Conn  // the calls that run, and their control connections
	calls  [][]string
	broken string
	guests map[string]*Guest
}

// New returns a host with an executable called tool, first in PATH, each call of
// which play answers with an exit code. play runs in the test process, in a
// goroutine of its own; it may call t.Errorf but not t.Fatalf.
//
// When the test ends the host switches its guests off and takes everything away.
// A call that still runs then was left behind by the driver: the test fails.
func New(t testing.TB, tool string, play func(*Call) int) *Host {
	t.Helper()
	dir, err := os.MkdirTemp("", "standin-") // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{
		t: t, dir: dir, accepted: make(chan struct{}), tools: map[string]func(*Call) int{},
		halves: map[string]net.Conn{}, live: map[*Call]net.Conn{}, guests: map[string]*Guest{},
	}
	h.life, h.end = context.WithCancel(context.Background())
	t.Cleanup(h.close)
	socket := filepath.Join(dir, "socket")
	if h.listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	go h.accept()
	if err := os.Mkdir(h.bin(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.bin(), addressFile), []byte(socket), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", h.bin()+string(filepath.ListSeparator)+os.Getenv("PATH"))
	// A process that the race detector watches waits a second before it exits.
	t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	t.Setenv(drivertest.StandInEnv, tool)
	h.Tool(tool, play)
	return h
}

func (h *Host) bin() string { return filepath.Join(h.dir, "bin") }

// Tool adds one more executable to the host, or gives one another player.
func (h *Host) Tool(name string, play func(*Call) int) {
	h.t.Helper()
	h.mu.Lock()
	known := h.tools[name] != nil
	h.tools[name] = play
	h.mu.Unlock()
	if known {
		return
	}
	h.t.Setenv(cli.Variable(name), "") // what the developer's own shell says does not count
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, h.Path(name))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// Path returns where an executable of the host is.
func (h *Host) Path(tool string) string { return filepath.Join(h.bin(), tool) }

// Remove takes an executable away: it is not installed any more. The machine's
// own command of that name, if there is one, must not be found in its place, so
// PATH has nothing but the host's executables from now on.
func (h *Host) Remove(tool string) {
	h.t.Helper()
	h.mu.Lock()
	delete(h.tools, tool)
	h.mu.Unlock()
	if err := os.Remove(h.Path(tool)); err != nil {
		h.t.Fatal(err)
	}
	h.t.Setenv("PATH", h.bin())
}

// Calls lists the calls so far, oldest first: the tool's name and its arguments.
func (h *Host) Calls() [][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Break sets what is wrong with the host, in a word that its player knows:
// "daemon", "full", "tools", "german", "hang", "lying". "" repairs it.
func (h *Host) Break(mode string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = mode
}

// Broken returns what Break has set.
func (h *Host) Broken() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// accept takes the connections of stand-ins, in the order in which they come:
// the control connection is a call's last.
func (h *Host) accept() {
	defer close(h.accepted)
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		o, err := readOpening(conn)
		if err != nil {
			conn.Close() // killed as it began
			continue
		}
		_ = conn.SetReadDeadline(time.Time{})
		if o.Stream == streamControl {
			h.begin(o, conn)
			continue
		}
		h.mu.Lock()
		h.halves[o.ID+" "+o.Stream] = conn
		h.mu.Unlock()
	}
}

// begin starts the player of a call whose connections are all there.
func (h *Host) begin(o opening, control net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	take := func(stream string) net.Conn {
		conn := h.halves[o.ID+" "+stream]
		delete(h.halves, o.ID+" "+stream)
		return conn
	}
	stdin, stdout, stderr := take(streamStdin), take(streamStdout), take(streamStderr)
	if stdin == nil || stdout == nil || stderr == nil {
		control.Close()
		return
	}
	c := &Call{Host: h, Tool: o.Tool, Args: o.Args, Dir: o.Dir, Stdin: stdin, Stdout: stdout, Stderr: stderr, PID: o.PID, env: o.Env}
	var cancel context.CancelFunc
	c.Ctx, cancel = context.WithCancel(h.life)
	h.calls = append(h.calls, append([]string{o.Tool}, o.Args...))
	h.live[c] = control
	play := h.tools[o.Tool]
	dead := make(chan struct{}) // the stand-in is gone
	go func() {
		_, _ = control.Read(make([]byte, 1)) // it never says any more
		cancel()
		close(dead)
	}()
	h.players.Go(func() {
		exit := c.play(play)
		stdout.Close()
		stderr.Close()
		_ = json.NewEncoder(control).Encode(closing{exit})
		select {
		case <-dead:
		case <-h.life.Done():
		}
		stdin.Close()
		control.Close()
		h.mu.Lock()
		delete(h.live, c)
		h.mu.Unlock()
	})
}

// Bounds of the end of a test.
const (
	leaveGrace = 5 * time.Second // for calls that were killed a moment ago
	playGrace  = 10 * time.Second
)

// close takes the host away.
func (h *Host) close() {
	for _, call := range h.left() {
		h.t.Errorf("%q still runs at the end of the test: its driver left it behind", call)
	}
	h.end()
	if h.listener != nil {
		h.listener.Close()
		<-h.accepted
	}
	for _, g := range h.Guests() {
		g.remove()
	}
	h.mu.Lock()
	for _, conn := range h.halves {
		conn.Close()
	}
	for _, conn := range h.live {
		conn.Close()
	}
	h.mu.Unlock()
	over := make(chan struct{})
	go func() { h.players.Wait(); close(over) }()
	select {
	case <-over:
	case <-time.After(playGrace):
		h.t.Errorf("a player goes on %s after its context's end; calls: %q", playGrace, h.Calls())
	}
	if err := os.RemoveAll(h.dir); err != nil {
		h.t.Error(err)
	}
}

// left waits a moment for the calls that run, and returns those that do not end.
func (h *Host) left() [][]string {
	var left [][]string
	for end := time.Now().Add(leaveGrace); ; time.Sleep(5 * time.Millisecond) {
		h.mu.Lock()
		left = nil
		for c := range h.live {
			left = append(left, append([]string{c.Tool}, c.Args...))
		}
		h.mu.Unlock()
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
	}
}

// Guests lists the host's guests by name.
func (h *Host) Guests() []*Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.guests), func(a, b *Guest) int { return strings.Compare(a.name, b.name) })
}

// Guest returns the guest of that name, or nil.
func (h *Host) Guest(name string) *Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.guests[name]
}
