package hyperv

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"assay/drivers/standin"
)

// A player is a stand-in for Windows' PowerShell with Hyper-V. It runs no script:
// it knows the driver's, takes none that differs by a letter, and does to
// made-up guests what the cmdlets in them would do. What Hyper-V answers is from
// the contract; no Windows was asked.
type player struct {
	t      *testing.T
	host   *standin.Host
	serial bool // this user may not register Hyper-V sockets

	mu    sync.Mutex // one script at a time
	count int        // of GUIDs
}

// newPlayer installs powershell and ssh.
func newPlayer(t *testing.T) *player {
	p := &player{t: t}
	p.host = standin.New(t, "powershell", p.play)
	p.host.Tool("ssh", p.login)
	return p
}

// A refusal is a script's error: a word of the script's own, or the id and the
// code of a cmdlet's.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + " | " + r.text }

// verbs are the scripts that the stand-in knows.
var verbs = map[string]func(*player, input) (any, error){
	"probe": (*player).probe, "list": (*player).list, "show": (*player).show, "register": (*player).register,
	"convert": (*player).convert, "create": (*player).create, "start": (*player).start, "stop": (*player).stop,
	"hold": (*player).hold, "save": (*player).save, "checkpoint": (*player).checkpoint, "restore": (*player).restore,
	"forget": (*player).forget, "fork": (*player).fork, "link": (*player).link, "usage": (*player).usage,
	"screen": (*player).screen, "remove": (*player).remove,
}

var (
	verbLine  = regexp.MustCompile(`\A# assay (\w+)\n`)
	inputWord = regexp.MustCompile(`FromBase64String\('([A-Za-z0-9+/=]*)'\)`)
)

// read takes a call apart: the script's verb and its input.
func (p *player) read(args []string) (verb string, in input, err error) {
	want := append(slices.Clone(powershell().Args), "-EncodedCommand")
	if len(args) != len(want)+1 || !slices.Equal(args[:len(want)], want) {
		return "", nil, fmt.Errorf("powershell: got the arguments %q, want %q and a script", args, want)
	}
	text, err := decode(args[len(want)])
	if err != nil {
		return "", nil, err
	}
	v, i := verbLine.FindStringSubmatch(text), inputWord.FindStringSubmatch(text)
	if v == nil || i == nil || verbs[v[1]] == nil {
		return "", nil, fmt.Errorf("powershell: got a script that is none of the driver's: %s", text)
	}
	data, err := base64.StdEncoding.DecodeString(i[1])
	if err != nil {
		return "", nil, err
	}
	if whole, err := script(v[1], json.RawMessage(data)); err != nil || whole != text {
		return "", nil, fmt.Errorf("powershell: got another script %s than the driver has (%v): %s", v[1], err, text)
	}
	return v[1], data, nil
}

// decode reads what -EncodedCommand is given.
func decode(encoded string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(data)%2 != 0 {
		return "", fmt.Errorf("powershell: got %.40q, want base64 of UTF-16 (%v)", encoded, err)
	}
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units)), nil
}

// play answers one call.
func (p *player) play(c *standin.Call) int {
	verb, in, err := p.read(c.Args)
	if err != nil {
		p.t.Error(err)
		return c.Fail(1, "%v", err)
	}
	if code, broken := p.broken(c, verb); broken {
		return code
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	answer, err := verbs[verb](p, in)
	var r *refusal
	switch {
	case errors.As(err, &r) && strings.Contains(r.code, " "):
		return c.Fail(1, "assay-error %v", r)
	case errors.As(err, &r):
		return c.Fail(3, "assay-error %v", r)
	case err != nil:
		p.t.Errorf("%s: %v", verb, err)
		return c.Fail(1, "assay-error Stand-in 0x80131500 | %v", err)
	}
	data, err := json.Marshal(answer)
	if err != nil {
		p.t.Error(err)
	}
	return c.Printf("%s%s\r\n", answerMark, base64.StdEncoding.EncodeToString(data))
}

// broken answers for a host that is out of order.
func (p *player) broken(c *standin.Call, verb string) (int, bool) {
	switch mode := p.host.Broken(); {
	case mode == "module" && verb != "register":
		return c.Fail(3, "assay-error module | the Hyper-V module for PowerShell is not installed"), true
	case mode == "daemon":
		return c.Fail(3, "assay-error service | the service vmms is Stopped"), true
	case mode == "rights":
		return c.Fail(3, "assay-error rights | this user is neither an administrator nor a Hyper-V administrator"), true
	case mode == "full" && verb == "create":
		return c.Fail(1, "assay-error VirtualizationException,Microsoft.Vhd.PowerShell.Cmdlets.NewVhd 0x80131500 | Failed to create the virtual hard disk. The system failed to create 'disk.vhdx': There is not enough space on the disk. (0x80070070)."), true
	case mode == "german" && verb == "create":
		return c.Fail(1, "assay-error OperationFailed,Microsoft.Vhd.PowerShell.Cmdlets.NewVhd 0x80131500 | Fehler beim Erstellen der virtuellen Festplatte. Fehler beim Erstellen von 'disk.vhdx' durch das System: Es steht nicht gen\u00fcgend Speicherplatz auf dem Datentr\u00e4ger zur Verf\u00fcgung. (0x80070070)."), true
	case mode == "memory" && verb == "start":
		return c.Fail(1, "assay-error OutOfMemory,Microsoft.HyperV.PowerShell.Commands.StartVM 0x80131500 | 'x' failed to start. Not enough memory in the system to start the virtual machine x with ram size 512 megabytes. (0x8007000E)"), true
	case mode == "virtual" && verb == "start":
		return c.Fail(1, "assay-error OperationFailed,Microsoft.HyperV.PowerShell.Commands.StartVM 0x80131500 | Virtual machine 'x' could not be started because the hypervisor is not running. (0xC0351000)"), true
	case mode == "lying" && verb == "create":
		return c.Printf("\r\n"), true
	case mode == "hang" && verb == "start":
		return c.Hang(), true
	}
	return 0, false
}

// input is a script's $in.
type input json.RawMessage

// words decodes the input of a script whose values are words.
func (in input) into(v any) error { return json.Unmarshal(in, v) }

// guid makes one up.
func (p *player) guid() string {
	p.count++
	h := sha256.Sum256(fmt.Appendf(nil, "%d", p.count))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// get returns a player's own value of a guest's, or its zero.
func get[T any](g *standin.Guest, key string) T {
	g.Lock()
	defer g.Unlock()
	v, _ := g.Attr[key].(T)
	return v
}

func set(g *standin.Guest, key string, v any) {
	g.Lock()
	defer g.Unlock()
	g.Attr[key] = v
}

// machine is Find-Machine.
func (p *player) machine(in input) (*standin.Guest, error) {
	var about about
	if err := in.into(&about); err != nil {
		return nil, err
	}
	if g := p.byID(about.ID); g != nil {
		return g, nil
	}
	return nil, &refusal{"missing", "no virtual machine has the id " + about.ID}
}

func (p *player) byID(id string) *standin.Guest {
	for _, g := range p.host.Guests() {
		if get[string](g, "id") == id {
			return g
		}
	}
	return nil
}

// state is what Hyper-V calls what a guest does.
func state(g *standin.Guest) string {
	switch {
	case g.Paused():
		return paused
	case g.Running():
		return running
	case get[string](g, "saved") != "":
		return saved
	}
	return off
}

func now(g *standin.Guest) any { return map[string]any{"state": state(g)} }

// connect is what reaches a port of a guest over a Hyper-V socket.
func (p *player) connect(_ context.Context, id string, port uint32) (net.Conn, error) {
	g := p.byID(id)
	if g == nil || !g.Running() {
		return nil, errors.New("connect: no such machine")
	}
	if args, ok := g.Listens(); !ok || args != fmt.Sprintf("vsock %d", port) {
		return nil, fmt.Errorf("connect: nobody listens on port %d", port)
	}
	near, far := net.Pipe()
	go g.Serve(context.Background(), far)
	return near, nil
}

// login is ssh.
func (p *player) login(c *standin.Call) int {
	n := len(ssh().Args)
	if len(c.Args) != n+3 || !slices.Equal(c.Args[:n], ssh().Args) || c.Args[n+1] != "--" {
		p.t.Errorf("ssh: got the arguments %q", c.Args)
		return c.Fail(255, "usage: ssh")
	}
	for _, g := range p.host.Guests() {
		if get[string](g, "address") == c.Args[n] {
			return g.Exec(c, []string{"sh", "-c", c.Args[n+2]}, standin.ExecOptions{User: "debian"})
		}
	}
	return c.Fail(255, "ssh: connect to host %s port 22: Connection timed out", c.Args[n])
}

// nothingLeft checks that the driver has removed what it made.
func (p *player) nothingLeft(home string) {
	p.t.Helper()
	for _, g := range p.host.Guests() {
		p.t.Errorf("left behind: the virtual machine %s, %s", g.Name(), state(g))
	}
	left, err := os.ReadDir(filepath.Join(home, "drivers", name, "machines"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Error(err)
	}
	for _, e := range left {
		p.t.Errorf("left behind: the folder %s", e.Name())
	}
}

// print is the console's pipe of a machine that runs.
func (p *player) print(g *standin.Guest, path string) error {
	os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		for g.Running() {
			time.Sleep(10 * time.Millisecond)
		}
		close(stop)
		l.Close()
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			for said := 0; ; time.Sleep(10 * time.Millisecond) {
				text := g.Console()
				n, err := conn.Write(text[min(said, len(text)):])
				if said += n; err != nil || isClosed(stop) {
					break
				}
			}
			conn.Close()
		}
	}()
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
