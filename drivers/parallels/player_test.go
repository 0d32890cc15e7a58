package parallels

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
)

func TestMain(m *testing.M) { standin.Main(m) }

// A player is Parallels Desktop as its command line shows it: version 26, as far
// as the contract tells. Whatever it does not know fails the test.
type player struct {
	t    *testing.T
	host *standin.Host
}

// A box is a virtual machine's configuration.
type box struct {
	UUID, Home, State string
	Template, Tools   bool
	Parent            string            // whose disks it lies on
	Set               map[string]string // options of "set"
	Devices           map[string]device
	deaf              int // how many commands Parallels Tools refuse yet
}

// A device is what "set" said of it.
type device map[string]string

// install makes the host's commands, and returns a driver for them.
func install(t *testing.T) (*driver, *player) {
	t.Helper()
	p := &player{t: t}
	p.host = standin.New(t, "prlctl", p.prlctl)
	p.host.Tool("prlsrvctl", p.prlsrvctl)
	p.host.Tool("ps", p.ps)
	d := newDriver(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram})
	d.ctl.Systems = nil // this host plays a Mac
	d.pause = 20 * time.Millisecond
	return d, p
}

// have makes a virtual machine of the user's, with Parallels Tools.
func (p *player) have(name string) *standin.Guest {
	p.t.Helper()
	g, err := p.host.Create(name, standin.Size{})
	if err != nil {
		p.t.Fatal(err)
	}
	boxes.Lock()
	defer boxes.Unlock()
	g.Lock()
	defer g.Unlock()
	b := newBox(filepath.Join(p.t.TempDir(), name+".pvm"))
	b.Tools = true
	b.Devices["hdd0"] = device{"size": "4096Mb"}
	g.Attr["box"] = b
	return g
}

func newBox(home string) *box {
	return &box{
		UUID: uuid(), Home: home, State: stopped, Set: map[string]string{},
		Devices: map[string]device{"net0": {"type": "shared", "enabled": "yes", "connected": "yes"}, "cdrom0": {}},
	}
}

func uuid() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

var boxes sync.Mutex // of all hosts: the boxes' fields

// of returns a guest's box; the caller holds the lock.
func of(g *standin.Guest) *box {
	g.Lock()
	defer g.Unlock()
	return g.Attr["box"].(*box)
}

// look finds a virtual machine by name or UUID.
func (p *player) look(id string) (*standin.Guest, *box) {
	for _, g := range p.host.Guests() {
		if b := of(g); g.Name() == id || b.UUID == strings.Trim(id, "{}") {
			if !g.Running() && (b.State == running || b.State == paused) {
				b.State = stopped // the guest shut itself down
			}
			return g, b
		}
	}
	return nil, nil
}

const lost = "Failed to get VM config: The virtual machine could not be found. The virtual machine is not registered in the virtual machine directory on your Mac."

// fail complains in the host's language.
func (p *player) fail(c *standin.Call, english string) int {
	if c.Host.Broken() == "german" {
		english = "Der Vorgang konnte nicht abgeschlossen werden."
	}
	return c.Fail(255, "%s", english)
}

// prlctl plays one call.
func (p *player) prlctl(c *standin.Call) int {
	verbs := map[string]func(*standin.Call, *standin.Guest, *box) int{
		"set": p.set, "start": p.start, "stop": p.stop, "pause": p.pause, "resume": p.resume, "suspend": p.suspend,
		"delete": p.delete, "clone": p.clone, "exec": p.exec, "snapshot": p.snapshot, "snapshot-list": p.snapshots,
		"snapshot-switch": p.restore, "snapshot-delete": p.forget, "capture": p.capture,
	}
	switch c.Host.Broken() {
	case "hang":
		return c.Hang()
	case "daemon":
		return c.Fail(255, "Login failed: Unable to connect to Parallels Service.")
	}
	if slices.Equal(c.Args, []string{"--version"}) {
		return c.Printf("prlctl version 26.3.2 (57398)\n")
	}
	if len(c.Args) < 2 {
		return p.unknown(c)
	}
	boxes.Lock()
	switch play := verbs[c.Args[0]]; {
	case c.Args[0] == "list" && strings.HasPrefix(c.Args[1], "-"):
		defer boxes.Unlock()
		return p.list(c)
	case c.Args[0] == "create":
		defer boxes.Unlock()
		return p.create(c)
	case play == nil && c.Args[0] != "list":
		boxes.Unlock()
		return p.unknown(c)
	default:
		g, b := p.look(c.Args[1])
		if c.Args[0] != "exec" {
			defer boxes.Unlock()
		}
		if g == nil {
			if c.Args[0] == "exec" {
				boxes.Unlock()
			}
			return p.fail(c, lost)
		}
		if play == nil {
			return p.info(c, g, b)
		}
		return play(c, g, b)
	}
}

// unknown fails the test: the contract has no such call.
func (p *player) unknown(c *standin.Call) int {
	p.t.Errorf("prlctl: no such call: %q", c.Args)
	return c.Fail(255, "Unrecognized option. See 'prlctl --help'")
}

func (p *player) prlsrvctl(c *standin.Call) int {
	if !slices.Equal(c.Args, []string{"info", "--license", "--json"}) {
		return p.unknown(c)
	}
	return c.Printf("{\"state\":\"valid\",\"edition\":\"pro\"}\n")
}

// list prints what the driver asks for; garbage around the JSON is what versions
// of prlctl were seen to print.
func (p *player) list(c *standin.Call) int {
	want := []string{"list", "--all", "--no-header", "--json", "-o", "name,uuid,status"}
	templates := slices.Equal(c.Args, append(want, "--template"))
	if !templates && !slices.Equal(c.Args, want) {
		return p.unknown(c)
	}
	lines := []map[string]string{}
	for _, g := range p.host.Guests() {
		_, b := p.look(g.Name())
		if b.Template == templates {
			lines = append(lines, map[string]string{"uuid": "{" + b.UUID + "}", "status": b.State, "name": g.Name()})
		}
	}
	text, _ := json.MarshalIndent(lines, "", "\t")
	return c.Printf("%s\n\x00", text)
}

func (p *player) info(c *standin.Call, g *standin.Guest, b *box) int {
	if !slices.Equal(c.Args[2:], []string{"-i", "-f", "--json"}) {
		return p.unknown(c)
	}
	hardware := map[string]any{"cpu": map[string]any{"cpus": 2}, "memory": map[string]any{"size": "2048Mb"}}
	for name, d := range b.Devices {
		hardware[name] = d
	}
	text, _ := json.Marshal([]any{map[string]any{
		"ID": b.UUID, "Name": g.Name(), "State": b.State, "Home": b.Home + "/", "Hardware": hardware,
	}})
	return c.Printf("%s\n", text)
}

// options reads "--name value" pairs; flags have no value.
func options(args []string, flags ...string) map[string]string {
	all := map[string]string{}
	for i := 0; i < len(args); i++ {
		if slices.Contains(flags, args[i]) || i+1 == len(args) {
			all[args[i]] = "yes"
			continue
		}
		all[args[i]] = args[i+1]
		i++
	}
	return all
}

func (p *player) create(c *standin.Call) int {
	o := options(c.Args[2:], "--no-hdd")
	if o["-o"] != "linux" || o["--no-hdd"] == "" || o["--dst"] == "" || len(o) != 3 {
		return p.unknown(c)
	}
	g, code := p.make(c, c.Args[1], func() (*standin.Guest, error) { return p.host.Create(c.Args[1], standin.Size{}) })
	if g == nil {
		return code
	}
	g.Attr["box"] = newBox(filepath.Join(o["--dst"], c.Args[1]+".pvm"))
	return p.bundle(c, g)
}

// make makes a guest, unless the host is full or the name taken.
func (p *player) make(c *standin.Call, name string, how func() (*standin.Guest, error)) (*standin.Guest, int) {
	switch c.Host.Broken() {
	case "full":
		return nil, p.fail(c, "Failed to create the virtual machine: There is not enough disk space on the Mac to complete this operation.")
	}
	g, err := how()
	if err != nil {
		return nil, p.fail(c, "Failed to create the virtual machine: A virtual machine with the name "+name+" already exists.")
	}
	return g, 0
}

// bundle makes the folder that Parallels keeps a virtual machine in.
func (p *player) bundle(c *standin.Call, g *standin.Guest) int {
	home := of(g).Home
	err := os.MkdirAll(home, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(home, "config.pvs"), []byte("<xml/>"), 0o600)
	}
	if err != nil {
		return c.Fail(255, "%v", err)
	}
	return c.Printf("The VM has been successfully created.\n")
}

func (p *player) clone(c *standin.Call, src *standin.Guest, b *box) int {
	o := options(c.Args[2:], "--linked")
	name, id := o["--name"], o["--id"]
	if name == "" || o["--dst"] == "" || (id != "") != (o["--linked"] != "") {
		return p.unknown(c)
	}
	g, code := p.make(c, name, func() (*standin.Guest, error) { return src.Clone(name, id) })
	if g == nil {
		return code
	}
	copied := *b
	copied.UUID, copied.Home, copied.State, copied.Template = uuid(), filepath.Join(o["--dst"], name+".pvm"), stopped, false
	if copied.Parent = ""; id != "" {
		copied.Parent = b.UUID
	}
	copied.Set, copied.Devices = maps.Clone(b.Set), map[string]device{}
	for name, d := range b.Devices {
		copied.Devices[name] = maps.Clone(d)
	}
	g.Lock()
	g.Attr["box"] = &copied
	g.Unlock()
	return p.bundle(c, g)
}

var (
	settings = []string{"--cpus", "--memsize", "--startup-view", "--on-window-close", "--efi-boot"}
	kinds    = regexp.MustCompile(`^(hdd|cdrom|serial|net)(\d*)$`)
)

// set changes a configuration. The first word says whether it is a device's.
func (p *player) set(c *standin.Call, g *standin.Guest, b *box) int {
	args := c.Args[2:]
	verb := args[0]
	if verb == "--device-connect" || verb == "--device-disconnect" {
		return p.cable(c, g, b, verb == "--device-connect")
	}
	if b.State != stopped {
		return p.fail(c, "Failed to configure the virtual machine: it is running.")
	}
	if verb == "--device-add" || verb == "--device-set" {
		return p.device(c, b, verb, args[1], args[2:])
	}
	for option, value := range options(args) {
		if !slices.Contains(settings, option) && !slices.Contains(apart, option) {
			return p.unknown(c)
		}
		b.Set[option] = value
	}
	return c.Printf("The VM has been successfully configured.\n")
}

func (p *player) device(c *standin.Call, b *box, verb, name string, args []string) int {
	m := kinds.FindStringSubmatch(name)
	if m == nil || (m[2] == "") != (verb == "--device-add") {
		return p.unknown(c)
	}
	if verb == "--device-add" {
		n := 0
		for ; b.Devices[m[1]+strconv.Itoa(n)] != nil; n++ {
		}
		name = m[1] + strconv.Itoa(n)
		b.Devices[name] = device{}
	}
	d := b.Devices[name]
	if d == nil {
		return p.fail(c, "The specified device was not found.")
	}
	for option, value := range options(args, "--enable", "--disable", "--connect") {
		switch option {
		case "--enable", "--disable":
			d["enabled"] = map[bool]string{true: "yes", false: "no"}[option == "--enable"]
		case "--connect":
			d["connected"] = "yes"
		case "--image", "--output", "--socket", "--socket-mode", "--type", "--size":
			d[strings.TrimPrefix(option, "--")] = value
		default:
			return p.unknown(c)
		}
	}
	return c.Printf("Creating %s\nThe VM has been successfully configured.\n", name)
}

func (p *player) cable(c *standin.Call, g *standin.Guest, b *box, up bool) int {
	if d := b.Devices[c.Args[3]]; d == nil || d["enabled"] != "yes" {
		return p.fail(c, "The device is disabled.")
	}
	g.SetLink(up)
	return c.Printf("The VM has been successfully configured.\n")
}
