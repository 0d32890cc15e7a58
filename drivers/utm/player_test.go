package utm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
)

func TestMain(m *testing.M) { standin.Main(m) }

// A player is UTM as utmctl and osascript show it, as far as the contract tells:
// failures exit with 0. Whatever it does not know fails the test.
type player struct {
	t       *testing.T
	host    *standin.Host
	version string
	serving sync.WaitGroup

	mu sync.Mutex // the boxes
}

// A box is a virtual machine of UTM's.
type box struct {
	UUID, State   string
	Memory, Cores int
	Network       string
	Extra         []string // arguments of QEMU
	Disk, Seed    string
	Agent         bool // its guest has qemu-guest-agent
	Names         map[string]string
}

// onMac makes the host's commands, and returns a driver for them.
func onMac(t *testing.T, version string) (*driver, *player) {
	t.Helper()
	p := &player{t: t, version: version}
	t.Cleanup(p.serving.Wait) // after the host has switched its guests off
	p.host = standin.New(t, "utmctl", p.utmctl)
	p.host.Tool("osascript", p.osascript)
	p.host.Tool("ps", p.ps)
	d := newDriver(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram})
	d.ctl.Systems = nil // this host plays a Mac
	d.pause = 20 * time.Millisecond
	return d, p
}

// have makes a virtual machine of the user's, with qemu-guest-agent.
func (p *player) have(name string) *standin.Guest {
	p.t.Helper()
	g, err := p.host.Create(name, standin.Size{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.keep(g, &box{State: stopped, Memory: 4096, Cores: 4, Network: "shared", Extra: []string{"-vga", "virtio"}, Agent: true})
	return g
}

// keep gives a guest its configuration.
func (p *player) keep(g *standin.Guest, b *box) {
	b.UUID, b.Names = uuid(), map[string]string{}
	g.Lock()
	defer g.Unlock()
	g.Attr["box"] = b
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// of returns a guest's box; the caller holds the lock.
func of(g *standin.Guest) *box {
	g.Lock()
	defer g.Unlock()
	b := g.Attr["box"].(*box)
	if !g.Running() && b.State != stopped {
		b.State = stopped // the guest shut itself down
	}
	return b
}

func (p *player) look(id string) (*standin.Guest, *box) {
	for _, g := range p.host.Guests() {
		if b := of(g); g.Name() == id || b.UUID == id {
			return g, b
		}
	}
	return nil, nil
}

// event fails as utmctl does when UTM says no: with exit code 0.
func (p *player) event(c *standin.Call, reason string) int {
	if c.Host.Broken() == "german" {
		return c.Fail(0, "Fehler vom Ereignis: Der Vorgang konnte nicht abgeschlossen werden. (OSStatus-Fehler -2700.)\nNein.")
	}
	return c.Fail(0, "Error from event: The operation couldn’t be completed. (OSStatus error -2700.)\n%s", reason)
}

const (
	notRunning = "The virtual machine is not running."
	notStopped = "The virtual machine must be stopped before this operation can be performed."
	noAgent    = "The QEMU guest agent is not running or not installed on the guest."
	notNow     = "Operation not available."
)

// unknown fails the test: the contract has no such call.
func (p *player) unknown(c *standin.Call) int {
	p.t.Errorf("%s: no such call: %q", c.Tool, c.Args)
	return c.Fail(64, "Error: Unknown option\nUsage: utmctl <subcommand>\n  See 'utmctl --help' for more information.")
}

// broken plays what is wrong with the whole application.
func (p *player) broken(c *standin.Call) (code int, is bool) {
	switch c.Host.Broken() {
	case "hang":
		return c.Hang(), true
	case "permission":
		if c.Tool == "utmctl" && c.Args[0] == "list" {
			c.Printf("UUID                                 Status   Name\n")
		}
		return c.Fail(0, "Error from event: The operation couldn’t be completed. (OSStatus error -1743.)\nNOTE: utmctl does not work from SSH sessions or before logging in."), true
	case "daemon":
		return c.Fail(0, "Error from event: The operation couldn’t be completed. (OSStatus error -600.)"), true
	case "busy":
		c.Host.Break("") // a race: it is over at once
		return c.Fail(0, "Error from event: （OSStatusエラー-609）"), true
	}
	return 0, false
}

// utmctl plays one call.
func (p *player) utmctl(c *standin.Call) int {
	if code, is := p.broken(c); is {
		return code
	}
	verb, args := c.Args[0], c.Args[1:]
	switch verb {
	case "version":
		if strings.HasPrefix(p.version, "4.") {
			return c.Fail(64, "Error: Unexpected argument 'version'\nUsage: utmctl <subcommand>")
		}
		return c.Printf("%s\n", p.version)
	case "list":
		return p.list(c)
	case "exec":
		return p.exec(c)
	case "file":
		return p.push(c)
	case "snapshot":
		if len(args) < 2 || p.version != "5.0.6" {
			return c.Fail(64, "Error: Unexpected argument 'snapshot'\nUsage: utmctl <subcommand>")
		}
		verb, args = "snapshot "+args[0], args[1:]
	}
	plays := map[string]func(*standin.Call, *standin.Guest, *box, []string) int{
		"start": p.start, "stop": p.stop, "suspend": p.suspend, "clone": p.clone, "delete": p.delete,
		"snapshot create": p.save, "snapshot list": p.saved, "snapshot restore": p.restore, "snapshot delete": p.forget,
	}
	play := plays[verb]
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--hide" })
	if play == nil || len(args) == 0 {
		return p.unknown(c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g, b := p.look(args[0])
	if g == nil {
		return c.Fail(1, "Error: Virtual machine not found.")
	}
	return play(c, g, b, args[1:])
}

func (p *player) list(c *standin.Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Printf("UUID                                 Status   Name\n")
	for _, g := range p.host.Guests() {
		b := of(g)
		c.Printf("%s %-8.8s %s\n", b.UUID, b.State, g.Name())
	}
	return 0
}

func (p *player) start(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	switch {
	case len(more) > 0:
		return p.unknown(c)
	case c.Host.Broken() == "lying":
		return 0
	case b.State == started:
		return p.event(c, notNow)
	case b.State == paused:
		if err := g.Resume(); err != nil {
			return p.event(c, err.Error())
		}
	default:
		if err := p.boot(g, b); err != nil {
			return p.event(c, err.Error())
		}
	}
	b.State = started
	return 0
}

func (p *player) boot(g *standin.Guest, b *box) error {
	if b.Seed != "" {
		if err := g.Seed(b.Seed); err != nil {
			return err
		}
	}
	if err := g.Start(); err != nil {
		return err
	}
	return p.qemu(g, b)
}

var socket = regexp.MustCompile(`^socket,id=(\w+),host=127\.0\.0\.1,port=(\d+),server=on,wait=off$`)

// qemu does what the arguments of QEMU say.
func (p *player) qemu(g *standin.Guest, b *box) error {
	ports := map[string]string{}
	bus := false
	for i, arg := range b.Extra {
		if m := socket.FindStringSubmatch(arg); m != nil {
			ports[m[1]] = m[2]
		}
		before := b.Extra[max(0, i-1)]
		bus = bus || before == "-device" && arg == "virtio-serial-pci,id=assay"
		chardev, isLine := strings.CutPrefix(arg, "virtserialport,bus=assay.0,chardev=")
		chardev, isLine = strings.CutSuffix(chardev, ",name=assay.0")
		console, isConsole := strings.CutPrefix(arg, "chardev:")
		var err error
		switch {
		case isLine && before == "-device" && bus:
			err = p.serve(g, ports[chardev], func(conn net.Conn) {
				if args, _ := g.Listens(); args == "" {
					_ = g.Serve(context.Background(), conn)
				}
			})
		case isConsole && before == "-serial":
			err = p.serve(g, ports[console], func(conn net.Conn) {
				defer conn.Close()
				_, _ = conn.Write(g.Console())
				_, _ = conn.Read(make([]byte, 1))
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serve listens on a port, one connection at a time, while the guest is on.
func (p *player) serve(g *standin.Guest, port string, do func(net.Conn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var last net.Conn
	p.serving.Go(func() {
		for g.Running() {
			time.Sleep(5 * time.Millisecond)
		}
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		if last != nil {
			last.Close()
		}
	})
	p.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			last = conn
			mu.Unlock()
			if !g.Running() {
				conn.Close()
			}
			do(conn)
		}
	})
	return nil
}

func (p *player) stop(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if len(more) != 1 || !slices.Contains([]string{"--kill", "--force", "--request"}, more[0]) {
		return p.unknown(c)
	}
	end := g.Kill
	if more[0] == "--request" {
		end = g.Shutdown
	}
	if err := end(); err != nil && more[0] != "--kill" {
		return p.event(c, notRunning)
	}
	b.State = stopped
	return 0
}

func (p *player) suspend(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if b.State != started || g.Pause() != nil {
		return p.event(c, notRunning)
	}
	b.State = paused
	return 0
}

func (p *player) clone(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if len(more) != 2 || more[0] != "--name" {
		return p.unknown(c)
	}
	if b.State != stopped {
		return p.event(c, notStopped)
	}
	if c.Host.Broken() == "full" {
		return p.event(c, "The file “disk.qcow2” couldn’t be copied because there is not enough disk space.")
	}
	copied, err := g.Clone(more[1], "")
	if err != nil {
		return p.event(c, err.Error())
	}
	other := *b
	other.Extra = slices.Clone(b.Extra)
	p.keep(copied, &other)
	return 0
}

func (p *player) delete(c *standin.Call, g *standin.Guest, b *box, _ []string) int {
	if b.State != stopped {
		return p.event(c, notStopped)
	}
	g.Delete()
	return 0
}

// exec runs a command by qemu-guest-agent: what it says comes when it has ended.
func (p *player) exec(c *standin.Call) int {
	p.mu.Lock()
	g, b := p.look(c.Args[1])
	p.mu.Unlock()
	rest := c.Args[2:]
	input := rest[0] == "--input"
	if input {
		rest = rest[1:]
	}
	switch {
	case g == nil:
		return c.Fail(1, "Error: Virtual machine not found.")
	case rest[0] != "--cmd" || len(rest) < 2:
		return p.unknown(c)
	case c.Host.Broken() == "silent":
		return 0
	case b.State != started:
		return p.event(c, notRunning)
	case !b.Agent || c.Host.Broken() == "tools":
		return p.event(c, noAgent)
	}
	var out, said bytes.Buffer
	inner := *c
	inner.Stdout, inner.Stderr, inner.Stdin = &out, &said, strings.NewReader("")
	if input {
		data, _ := io.ReadAll(c.Stdin)
		inner.Stdin = bytes.NewReader(data)
	}
	code := g.Exec(&inner, rest[1:], standin.ExecOptions{})
	_, _ = c.Stdout.Write(out.Bytes())
	_, _ = c.Stderr.Write(said.Bytes())
	if code > 128 {
		return 0 // a signal is lost
	}
	return code
}

func (p *player) push(c *standin.Call) int {
	if len(c.Args) != 4 || c.Args[1] != "push" {
		return p.unknown(c)
	}
	p.mu.Lock()
	g, b := p.look(c.Args[2])
	p.mu.Unlock()
	data, _ := io.ReadAll(c.Stdin)
	switch {
	case g == nil:
		return c.Fail(1, "Error: Virtual machine not found.")
	case b.State != started:
		return p.event(c, notRunning)
	case c.Host.Broken() == "full guest":
		data = data[:len(data)/2]
	}
	if err := g.Write(c.Args[3], data, 0o600); err != nil {
		return p.event(c, err.Error())
	}
	return 0
}

// save gives a name that is taken a number.
func (p *player) save(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if len(more) != 2 || more[0] != "--name" {
		return p.unknown(c)
	}
	name := more[1]
	if c.Host.Broken() == "full" {
		return c.Fail(1, "Error: There is not enough disk space for the snapshot.")
	}
	if c.Host.Broken() != "lying" {
		id := uuid()
		if err := g.Snapshot(id, c.Host.Broken() != "cold"); err != nil {
			return c.Fail(1, "Error: %v", err)
		}
		for taken := slices.Collect(maps.Values(b.Names)); slices.Contains(taken, name); {
			name += " 2"
		}
		b.Names[id] = name
	}
	return c.Printf("%s\n", name)
}

func (p *player) saved(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if !slices.Equal(more, []string{"--json"}) {
		return p.unknown(c)
	}
	list := []any{}
	for _, s := range slices.Backward(g.Snapshots()) {
		list = append(list, map[string]any{
			"basedOn": s.Parent, "created": "2026-09-01T10:00:00Z", "dataMissing": false, "id": s.Name,
			"includesRunningState": s.Memory, "name": b.Names[s.Name], "size": 123,
		})
	}
	text, _ := json.Marshal(list)
	return c.Printf("%s\n", text)
}

func (p *player) restore(c *standin.Call, g *standin.Guest, b *box, more []string) int {
	if len(more) != 2 || more[0] != "--snapshot" {
		return p.unknown(c)
	}
	if err := g.Restore(more[1]); err != nil {
		return c.Fail(1, "Error: Snapshot not found.")
	}
	return 0
}

func (p *player) forget(c *standin.Call, g *standin.Guest, _ *box, more []string) int {
	if len(more) != 2 || more[0] != "--snapshot" {
		return p.unknown(c)
	}
	if err := g.DeleteSnapshot(more[1]); err != nil {
		return c.Fail(1, "Error: Snapshot not found.")
	}
	return 0
}
