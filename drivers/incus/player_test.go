package incus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
)

// A player plays incus, or lxc, and the server behind it. What it answers is what
// the real ones answer, as testdata's transcripts have it.
type player struct {
	t    *testing.T
	host *standin.Host
	tool string
	kind string // what the server's drivers can make

	hold    chan struct{} // a creation waits for it
	refused func(times int)
	refusal atomic.Int32
}

// newPlayer returns a host on which the driver finds tool and nothing else.
func newPlayer(t *testing.T, tool, kind string) *player {
	t.Helper()
	p := &player{t: t, tool: tool, kind: kind}
	p.host = standin.New(t, tool, p.play)
	p.alone(tool)
	return p
}

// alone takes the other client away, should this machine have it.
func (p *player) alone(tool string) {
	for _, other := range []string{"incus", "lxc"} {
		if other != tool {
			p.host.Tool(other, nil)
			p.host.Remove(other)
		}
	}
	p.t.Setenv(typeEnv, "")
}

func (p *player) driver(t *testing.T) *driver {
	t.Helper()
	return New(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram}).(*driver)
}

// fail says an error as the client does.
func (p *player) fail(c *standin.Call, format string, args ...any) int {
	return c.Fail(1, "Error: "+format, args...)
}

// down are the words of a client without a server.
func (p *player) down(c *standin.Call) int {
	if p.tool == "lxc" {
		return p.fail(c, `LXD unix socket "/var/lib/lxd/unix.socket" not found: Please check LXD is running`)
	}
	return p.fail(c, "The incus daemon doesn't appear to be started (socket path: /var/lib/incus/unix.socket)")
}

func (p *player) play(c *standin.Call) int {
	switch p.host.Broken() {
	case "daemon":
		return p.down(c)
	case "permission":
		return p.fail(c, "You don't have the needed permissions to talk to the incus daemon (socket path: /var/lib/incus/unix.socket)")
	case "hang":
		return c.Hang()
	}
	switch {
	case len(c.Args) > 1 && c.Args[0] == "query":
		return p.query(c, c.Args[1:])
	case len(c.Args) > 4 && c.Args[0] == "exec" && slices.Equal(c.Args[2:4], []string{"-T", "--"}):
		return p.exec(c, c.Args[1], c.Args[4:])
	case slices.Equal(c.Args, []string{"remote", "list", "-f", "json"}):
		return p.say(c, map[string]any{"images": map[string]any{"Addr": "https://images.example", "Protocol": "simplestreams", "Public": true},
			"mine": map[string]any{"Addr": "https://10.0.0.1:8443", "Protocol": "incus", "Public": false}})
	case len(c.Args) == 3 && c.Args[0] == "console" && c.Args[2] == "--show-log":
		return p.console(c, c.Args[1])
	case len(c.Args) == 3 && slices.Equal(c.Args[:2], []string{"info", "--show-log"}):
		return c.Printf("Name: %s\n\nLog:\n\nlxc %s ERROR start - the container's first program is not there\n", c.Args[2], c.Args[2])
	}
	p.t.Errorf("got %q, want a call that %s knows", c.Args, p.tool)
	return 1
}

// say answers as the API does, through query.
func (p *player) say(c *standin.Call, v any) int {
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		p.t.Error(err)
	}
	return c.Printf("%s\n\n", text)
}

// A request is one of the API.
type request struct {
	method, path string
	body         struct {
		Name, Action, Restore string
		Force, Stateful       bool
		Config                map[string]string
		Devices               map[string]map[string]string
		Profiles              []string
		Source                struct{ Type, Source, Alias, Fingerprint, Server string }
	}
}

func (p *player) query(c *standin.Call, args []string) int {
	r := request{method: "GET"}
	for len(args) > 1 {
		switch args[0] {
		case "--wait":
			args = args[1:]
			continue
		case "-X":
			r.method = args[1]
		case "-d":
			if err := json.Unmarshal([]byte(args[1]), &r.body); err != nil {
				return p.fail(c, "%v", err)
			}
		default:
			p.t.Errorf("got %q, want a flag of query", args[0])
		}
		args = args[2:]
	}
	r.path = args[0]
	if p.host.Broken() == "lying" && r.method != "GET" {
		return c.Fail(0, "Error: nothing was done")
	}
	if p.host.Broken() == "german" && r.method != "GET" {
		return p.fail(c, "Der Vorgang ist fehlgeschlagen")
	}
	return p.answer(c, r)
}

// answer answers what is about no instance.
func (p *player) answer(c *standin.Call, r request) int {
	switch r.method + " " + r.path {
	case "GET /1.0":
		env := map[string]any{"server": "incus", "server_version": "6.0.4", "driver": "lxc"}
		if p.tool == "lxc" {
			env["server"], env["server_version"] = "lxd", "5.0.2"
		}
		if p.kind == typeVM {
			env["driver"] = "lxc | qemu"
		}
		return p.say(c, map[string]any{"auth": "trusted", "environment": env})
	case "GET /1.0/profiles/default":
		return p.say(c, map[string]any{"devices": profile})
	case "GET /1.0/resources":
		return p.say(c, map[string]any{"cpu": map[string]any{"total": 4}, "memory": map[string]any{"total": 8 << 30}})
	case "GET /1.0/storage-pools/default/resources":
		return p.say(c, map[string]any{"space": map[string]any{"total": 100 << 30, "used": 10 << 30}})
	case "GET /1.0/operations?recursion=1":
		return p.say(c, map[string]any{})
	case "GET /1.0/instances":
		urls := []string{}
		for _, g := range p.host.Guests() {
			urls = append(urls, "/1.0/instances/"+g.Name())
		}
		return p.say(c, urls)
	case "POST /1.0/instances":
		return p.create(c, r)
	}
	rest, ok := strings.CutPrefix(r.path, "/1.0/instances/")
	if !ok {
		return p.fail(c, "not found")
	}
	name, what, _ := strings.Cut(rest, "/")
	g := p.host.Guest(name)
	if g == nil {
		return p.fail(c, `Failed to fetch instance "%s" in project "default": Instance not found`, name)
	}
	return p.about(c, r, g, what)
}

var profile = map[string]map[string]string{
	"root": {"type": "disk", "path": "/", "pool": "default"},
	"eth0": {"type": "nic", "name": "eth0", "network": "incusbr0"},
}

// about answers what is about an instance.
func (p *player) about(c *standin.Call, r request, g *standin.Guest, what string) int {
	kind, snapshot, _ := strings.Cut(what, "/")
	switch r.method + " " + kind {
	case "GET ":
		return p.say(c, p.instance(g))
	case "GET state":
		st := map[string]any{"status": status(g), "pid": 0}
		if g.Running() {
			st = map[string]any{"status": status(g), "pid": 4711, "cpu": map[string]any{"usage": 1e9},
				"memory": map[string]any{"usage": 64 << 20}, "disk": map[string]any{"root": map[string]any{"usage": g.Used()}}}
		}
		return p.say(c, st)
	case "PUT state":
		return p.power(c, r, g)
	case "PUT ":
		if r.body.Restore != "" {
			return p.restore(c, r, g)
		}
		g.Lock()
		g.Attr["devices"] = r.body.Devices
		g.Unlock()
		g.SetLink(len(cards(expanded(g))) > 0)
		return 0
	case "POST snapshots":
		return p.snapshot(c, r, g)
	case "DELETE snapshots":
		if err := g.DeleteSnapshot(snapshot); err != nil {
			return p.fail(c, `Failed to fetch snapshot "%s" of instance "%s" in project "default": Instance_snapshot not found`, snapshot, g.Name())
		}
		return 0
	case "DELETE ":
		if g.Running() {
			return p.fail(c, "Instance is running")
		}
		g.Delete()
		return 0
	}
	p.t.Errorf("got %s %s, want a request that the server knows", r.method, r.path)
	return p.fail(c, "not found")
}

// own returns what was set of an instance.
func own[T any](g *standin.Guest, key string) T {
	g.Lock()
	defer g.Unlock()
	v, _ := g.Attr[key].(T)
	return v
}

// expanded returns the devices with those of the profile.
func expanded(g *standin.Guest) map[string]map[string]string {
	all := map[string]map[string]string{}
	if slices.Contains(own[[]string](g, "profiles"), "default") {
		maps.Copy(all, profile)
	}
	maps.Copy(all, own[map[string]map[string]string](g, "devices"))
	return all
}

func (p *player) instance(g *standin.Guest) instance {
	return instance{Name: g.Name(), Status: status(g), Type: p.kind, Architecture: "x86_64",
		Profiles: own[[]string](g, "profiles"), Config: own[map[string]string](g, "config"),
		Devices: own[map[string]map[string]string](g, "devices"), AllDevices: expanded(g)}
}

func status(g *standin.Guest) string {
	switch {
	case g.Paused():
		return statusFrozen
	case g.Running():
		return statusRunning
	}
	return statusStopped
}

func (p *player) create(c *standin.Call, r request) int {
	if p.hold != nil {
		<-p.hold // the server goes on, whether its client lives or not
	}
	if p.host.Broken() == "full" {
		return p.fail(c, "Failed creating instance from image: Failed to unpack image: write rootfs: no space left on device")
	}
	g, code := p.made(c, r)
	if g == nil {
		return code
	}
	g.Lock()
	defer g.Unlock()
	for key, v := range map[string]any{"config": r.body.Config, "devices": r.body.Devices, "profiles": r.body.Profiles} {
		switch v := v.(type) {
		case map[string]string:
			old, _ := g.Attr[key].(map[string]string)
			merged := maps.Clone(old)
			if merged == nil {
				merged = map[string]string{}
			}
			maps.Copy(merged, v)
			g.Attr[key] = merged
		default:
			if r.body.Source.Type != "copy" {
				g.Attr[key] = v
			}
		}
	}
	return 0
}

// made makes the guest of a request.
func (p *player) made(c *standin.Call, r request) (*standin.Guest, int) {
	src := r.body.Source
	var g *standin.Guest
	var err error
	if src.Type == "copy" {
		parent, snapshot, _ := strings.Cut(src.Source, "/")
		from := p.host.Guest(parent)
		if from == nil {
			return nil, p.fail(c, "Instance not found")
		}
		if p.kind == typeVM {
			g, err = from.Twin(r.body.Name, snapshot)
		} else {
			g, err = from.Clone(r.body.Name, snapshot)
		}
	} else {
		if src.Alias != "debian/12" {
			return nil, p.fail(c, "Failed getting image: Image not found")
		}
		g, err = p.host.Create(r.body.Name, standin.Size{})
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil, p.fail(c, `Failed creating instance record: Add instance info to the database: Failed to create "instances" entry: UNIQUE constraint failed: instances.project_id, instances.name`)
	case err != nil:
		return nil, p.fail(c, "%v", err)
	}
	return g, 0
}

func (p *player) power(c *standin.Call, r request, g *standin.Guest) int {
	words := map[error]string{standin.ErrOn: "The instance is already running", standin.ErrOff: "The instance is already stopped"}
	var err error
	switch r.body.Action {
	case "start":
		if p.host.Broken() == "init" {
			return p.fail(c, "Failed to run: /usr/libexec/incus/incusd forkstart %s /var/lib/incus/containers lxc.conf: exit status 1", g.Name())
		}
		if err = g.Start(); err == nil && len(g.Snapshots()) > 0 && p.kind == typeVM && g.Current() == "" {
			first := g.Snapshots()[0].Name // a copy of a state goes on from it
			err = errors.Join(g.Restore(first), g.DeleteSnapshot(first))
		}
	case "stop":
		if g.Paused() {
			return p.fail(c, "The instance is frozen")
		}
		if r.body.Force && p.kind != typeContainer {
			err = g.Kill()
		} else {
			err = g.Shutdown()
		}
	case "freeze":
		err, words[standin.ErrOff] = g.Pause(), "The instance isn't running"
	case "unfreeze":
		err = g.Resume()
	}
	if err != nil {
		for kind, text := range words {
			if errors.Is(err, kind) {
				return p.fail(c, "%s", text)
			}
		}
		return p.fail(c, "%v", err)
	}
	return 0
}

func (p *player) snapshot(c *standin.Call, r request, g *standin.Guest) int {
	if p.host.Broken() == "full" {
		return p.fail(c, "Failed to create snapshot: no space left on device")
	}
	if r.body.Stateful && p.kind == typeContainer {
		return p.fail(c, "Unable to create a stateful snapshot. CRIU isn't installed")
	}
	if p.kind == typeContainer {
		g.Flush() // its files are the host's
	}
	if err := g.Snapshot(r.body.Name, r.body.Stateful); err != nil {
		return p.fail(c, "Failed creating instance snapshot record %q: UNIQUE constraint failed: instances_snapshots.instance_id, instances_snapshots.name", r.body.Name)
	}
	return 0
}

func (p *player) restore(c *standin.Call, r request, g *standin.Guest) int {
	ran := g.Running()
	if err := g.Restore(r.body.Restore); err != nil {
		return p.fail(c, "Snapshot %s/%s does not exist", g.Name(), r.body.Restore)
	}
	if ran && !g.Running() {
		if err := g.Start(); err != nil {
			return p.fail(c, "%v", err)
		}
	}
	return 0
}

func (p *player) console(c *standin.Call, name string) int {
	g := p.host.Guest(name)
	if g == nil {
		return p.fail(c, `Failed to fetch instance "%s" in project "default": Instance not found`, name)
	}
	return c.Printf("\nConsole log:\n\n%s", g.Console())
}

func (p *player) exec(c *standin.Call, name string, argv []string) int {
	g := p.host.Guest(name)
	switch {
	case g == nil:
		return p.fail(c, `Failed to fetch instance "%s" in project "default": Instance not found`, name)
	case !g.Running():
		return p.fail(c, "Instance is not running")
	case g.Paused():
		return p.fail(c, "Instance is frozen")
	case p.host.Broken() == "tools":
		p.refused(int(p.refusal.Add(1)))
		return p.fail(c, "VM agent isn't currently running")
	case slices.Equal(argv, []string{"sh", "-c", readyScript}):
		if _, err := g.Read(cli.AgentPath); err == nil {
			fmt.Fprintln(c.Stdout, "agent")
		}
		return 0
	}
	code := g.Exec(c, argv, standin.ExecOptions{})
	if !g.Running() {
		return 137
	}
	return code
}
