package lima

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

func TestMain(m *testing.M) { standin.Main(m) }

// A player is a made-up limactl. Its words are those of recorded answers of 2.2.0
// and of the researched contract.
type player struct {
	t       testing.TB
	host    *standin.Host
	version string
	types   []string
	home    string // LIMA_HOME
}

// newPlayer installs a Lima of that version with those drivers of its own, and a
// QEMU if it is among them.
func newPlayer(t testing.TB, version string, types ...string) *player {
	p := &player{t: t, version: version, types: types, home: t.TempDir()}
	p.host = standin.New(t, "limactl", p.play)
	for _, e := range emulators {
		t.Setenv(e.variable, "no-such-qemu")
		if types[0] == typeQEMU {
			t.Setenv(e.variable, "qemu-stand-in")
		}
	}
	if types[0] == typeQEMU {
		p.host.Tool("qemu-stand-in", func(c *standin.Call) int { return c.Fail(1, "nobody starts it here") })
	}
	return p
}

// driver returns the driver under test. The test sets the player up before.
func (p *player) driver() vm.Driver {
	p.host.Calls() // takes a lock: what the test has set, the player's goroutines see
	return New(cli.Config{Home: p.t.TempDir(), Agents: standin.AgentProgram})
}

// atLeast reports whether the player is as new as that.
func (p *player) atLeast(major, minor int) bool {
	v, _, _ := cli.FindVersion(p.version)
	return v.AtLeast(major, minor)
}

// play is the command.
func (p *player) play(c *standin.Call) int {
	if c.Getenv("LC_ALL") != "C" {
		p.t.Errorf("%q: got LC_ALL %q, want C", c.Args, c.Getenv("LC_ALL"))
	}
	verbs := map[string]func(*standin.Call, []string) int{
		"--version": func(c *standin.Call, _ []string) int { return c.Printf("limactl version %s\n", p.version) },
		"info":      p.info, "list": p.list, "create": p.create, "start": p.start, "stop": p.stop, "delete": p.delete,
		"shell": p.shell, "snapshot": p.snapshot, "clone": p.clone,
	}
	verb := verbs[c.Args[0]]
	if verb == nil {
		return p.unknown(c)
	}
	if code, broken := p.broken(c); broken {
		return code
	}
	return verb(c, c.Args[1:])
}

// unknown fails the test: the real command would not understand the call either.
func (p *player) unknown(c *standin.Call) int {
	p.t.Errorf("limactl %q: the contract knows no such call", c.Args)
	return fatal(c, "unknown command %q for \"limactl\"", c.Args)
}

// fatal ends a call as limactl does.
func fatal(c *standin.Call, format string, args ...any) int {
	return c.Fail(1, "time=\"2026-11-23T12:29:35Z\" level=fatal msg=%q", fmt.Sprintf(format, args...))
}

func warn(c *standin.Call, text string) {
	fmt.Fprintf(c.Stderr, "time=\"2026-11-23T12:29:35Z\" level=warning msg=%q\n", text)
}

// broken plays what is wrong with the host.
func (p *player) broken(c *standin.Call) (code int, broken bool) {
	verb := c.Args[0]
	switch mode := p.host.Broken(); {
	case mode == "hang":
		return c.Hang(), true
	case mode == "root" && verb != "--version":
		return c.Fail(1, "limactl: must not run as the root user"), true
	case mode == "full" && (verb == "create" || verb == "clone"):
		return fatal(c, "failed to write: No space left on device"), true
	case mode == "tools" && verb == "shell":
		return c.Fail(255, "ssh: connect to host 127.0.0.1 port 60022: Connection refused\r"), true
	case mode == "german" && (verb == "create" || verb == "start"):
		return fatal(c, "die Instanz kann nicht angelegt werden"), true
	case mode == "timeout" && verb == "start":
		return fatal(c, "did not receive an event with the `running` status"), true
	case mode == "died" && verb == "start":
		said := "{\"level\":\"info\",\"msg\":\"qemu[stderr]: Could not access KVM kernel module: Permission denied\"}\n"
		if err := os.WriteFile(filepath.Join(p.dir(c.Args[len(c.Args)-1]), "ha.stderr.log"), []byte(said), 0o600); err != nil {
			p.t.Error(err)
		}
		return fatal(c, "exiting, status={Running:false Degraded:false Exiting:true Errors:[] SSHLocalPort:0} (hint: see `…/ha.stderr.log`)"), true
	case mode == "lying" && (verb == "create" || verb == "start" || verb == "clone" || verb == "snapshot" && c.Args[1] != "list"):
		warn(c, "something went wrong")
		return 0, true
	case mode == "monitor" && verb == "snapshot" && c.Args[1] == "apply":
		p.experimental(c)
		if err := p.host.Guest(c.Args[2]).Pause(); err != nil {
			p.t.Error(err)
		}
		warn(c, "output: Error: Device 'x' is writable but does not support snapshots")
		return 0, true
	}
	return 0, false
}

func (p *player) dir(id string) string { return filepath.Join(p.home, id) }

func (p *player) info(c *standin.Call, args []string) int {
	if len(args) > 0 {
		return p.unknown(c)
	}
	return p.json(c, map[string]any{"version": p.version, "limaHome": p.home, "vmTypes": p.types})
}

func (p *player) json(c *standin.Call, answer any) int {
	data, err := json.Marshal(answer)
	if err != nil {
		p.t.Error(err)
	}
	return c.Printf("%s\n", data)
}

func status(g *standin.Guest) string {
	if g.Running() {
		return "Running"
	}
	return "Stopped"
}

// list is "list --format json".
func (p *player) list(c *standin.Call, args []string) int {
	if len(args) != 2 || args[0] != "--format" || args[1] != "json" {
		return p.unknown(c)
	}
	for _, g := range p.host.Guests() {
		g.Lock()
		kind := g.Attr["type"]
		g.Unlock()
		p.json(c, map[string]any{"name": g.Name(), "hostname": "lima-" + g.Name(), "status": status(g), "dir": p.dir(g.Name()), "vmType": kind, "arch": "x86_64"})
	}
	if len(p.host.Guests()) == 0 {
		warn(c, "No instance found. Run `limactl create` to create an instance.")
	}
	return 0
}

var instanceName = regexp.MustCompile(`^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$`)

// create is "create --tty=false --name=N --vm-type=T --cpus=C --memory=M [--disk=D] … TEMPLATE".
func (p *player) create(c *standin.Call, args []string) int {
	last := len(args) - 1
	flags := map[string]string{}
	for _, a := range args[:last] {
		key, value, _ := strings.Cut(a, "=")
		flags[key] = value
	}
	want := map[string]string{"--tty": "false", "--containerd": "none", "--plain": "", "--vm-type": p.types[0]}
	set := ".propagateProxyEnv=false"
	if p.atLeast(1, 1) {
		want["--mount-none"] = ""
	} else {
		set = ".mounts=[] | " + set
	}
	want["--set"] = set
	for key, value := range want {
		if got, ok := flags[key]; !ok || got != value {
			p.t.Errorf("create: got %s %q, %v, want %q", key, got, ok, value)
		}
		delete(flags, key)
	}
	if err := p.template(c, args[last]); err != nil {
		return fatal(c, "%v", err)
	}
	id := flags["--name"]
	if !instanceName.MatchString(id) || len(id) > 76 {
		return fatal(c, "identifier %q must match %s", id, instanceName)
	}
	g, err := p.host.Create(id, standin.Size{CPUs: atoi(p.t, flags["--cpus"]), Memory: bytesOf(p.t, flags["--memory"]), Disk: bytesOf(p.t, flags["--disk"])})
	if errors.Is(err, fs.ErrExist) {
		return fatal(c, "instance `%s` already exists", id)
	}
	for key := range flags {
		if key != "--name" && key != "--cpus" && key != "--memory" && key != "--disk" {
			p.t.Errorf("create: got the flag %s", key)
		}
	}
	return p.said(c, errors.Join(err, p.furnish(g, p.types[0])))
}

// furnish makes what an instance has beside its guest.
func (p *player) furnish(g *standin.Guest, kind string) error {
	g.Lock()
	g.Attr["type"] = kind
	g.Unlock()
	return errors.Join(g.AddUser("u", true), os.MkdirAll(p.dir(g.Name()), 0o700), os.WriteFile(filepath.Join(p.dir(g.Name()), "diffdisk"), []byte("disk"), 0o600))
}

func atoi(t testing.TB, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Error(err)
	}
	return n
}

// bytesOf reads gibibytes; "" is 0.
func bytesOf(t testing.TB, s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Error(err)
	}
	return int64(n * (1 << 30))
}

// template fails if there is none of that name; "-" is read from the input.
func (p *player) template(c *standin.Call, name string) error {
	if name == "-" {
		var text struct {
			Images []struct{ Location, Arch string }
		}
		err := json.NewDecoder(c.Stdin).Decode(&text)
		if err != nil || len(text.Images) != 1 || text.Images[0].Arch != "x86_64" {
			return fmt.Errorf("field `images` must be set: %+v, %w", text, err)
		}
		_, err = os.Stat(text.Images[0].Location)
		return err
	}
	scheme := "template:"
	if !p.atLeast(2, 0) {
		scheme = "template://"
	}
	if name != scheme+"debian-12" {
		return fmt.Errorf("template `%s.yaml` not found", strings.TrimPrefix(name, scheme))
	}
	return nil
}

// said turns an error into the command's end.
func (p *player) said(c *standin.Call, err error) int {
	if err != nil {
		return fatal(c, "%v", err)
	}
	return 0
}

// start is "start --tty=false --timeout T NAME". A name that is not known it would
// make an instance of.
func (p *player) start(c *standin.Call, args []string) int {
	if len(args) != 4 || args[0] != "--tty=false" || args[1] != "--timeout" {
		return p.unknown(c)
	}
	g := p.host.Guest(args[3])
	if g == nil {
		p.t.Errorf("start of %s makes an instance of that name", args[3])
		return 1
	}
	if g.Running() {
		return 0
	}
	g.Lock()
	g.Attr["restrict"] = p.restricted(c)
	delete(g.Attr, "stale")
	g.Unlock()
	if err := p.boot(g); err != nil {
		return fatal(c, "%v", err)
	}
	fmt.Fprintf(c.Stderr, "time=\"2026-11-23T12:29:35Z\" level=info msg=\"READY. Run `ssh -F %s lima-%s` to open the shell.\"\n", p.dir(g.Name()), g.Name())
	return 0
}

// restricted reports whether QEMU, if it is started as told, keeps the guest from
// the network.
func (p *player) restricted(c *standin.Call) bool {
	if info, err := os.Stat(c.Getenv("QEMU_SYSTEM_X86_64")); err != nil || info.Mode().Perm() != 0o700 {
		return false
	}
	return c.Getenv("ASSAY_LIMA_RESTRICT") == "on" && c.Getenv("ASSAY_LIMA_QEMU") == p.host.Path("qemu-stand-in")
}

// boot starts a guest, whose kernel keeps books.
func (p *player) boot(g *standin.Guest) error {
	err := errors.Join(
		g.Write("/proc/stat", []byte("cpu  100 0 50 1000 0 0 0 0 0 0\n"), 0o444),
		g.Write("/proc/meminfo", []byte("MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"), 0o444), g.Start())
	return errors.Join(err, os.WriteFile(filepath.Join(p.dir(g.Name()), "serial.log"), g.Console(), 0o600))
}

func (p *player) stop(c *standin.Call, args []string) int {
	id := args[len(args)-1]
	force := len(args) == 2 && args[0] == "-f"
	g := p.host.Guest(id)
	switch {
	case len(args) != 1 && !force:
		return p.unknown(c)
	case g == nil:
		return fatal(c, "open %s/lima.yaml: no such file or directory", p.dir(id))
	case !g.Running() && force:
		return 0
	case !g.Running():
		return fatal(c, "expected status `Running`, got `Stopped` (maybe use `limactl stop -f`?)")
	case !force:
		return p.said(c, g.Shutdown())
	}
	return p.said(c, g.Kill())
}

func (p *player) delete(c *standin.Call, args []string) int {
	if len(args) != 2 || args[0] != "-f" {
		return p.unknown(c)
	}
	g := p.host.Guest(args[1])
	if g == nil {
		warn(c, "Ignoring non-existent instance `"+args[1]+"`")
		return 0
	}
	g.Delete()
	return p.said(c, os.RemoveAll(p.dir(args[1])))
}

// shell is "shell [--reconnect] --workdir / NAME -- ARGV…".
func (p *player) shell(c *standin.Call, args []string) int {
	reconnect := len(args) > 0 && args[0] == "--reconnect"
	if reconnect {
		args = args[1:]
	}
	if len(args) < 5 || args[0] != "--workdir" || args[1] != "/" || args[3] != "--" || strings.Contains(args[4], "=") {
		return p.unknown(c)
	}
	if reconnect && !p.atLeast(2, 0) {
		return fatal(c, "unknown flag: --reconnect")
	}
	g := p.host.Guest(args[2])
	switch {
	case g == nil:
		return fatal(c, "instance `%[1]s` does not exist, run `limactl create %[1]s` to create a new instance", args[2])
	case !g.Running():
		return fatal(c, "instance `%[1]s` is stopped, run `limactl start %[1]s` to start the instance", args[2])
	}
	g.Lock()
	stale := g.Attr["stale"] == true
	delete(g.Attr, "stale")
	g.Unlock()
	if stale && !reconnect {
		fmt.Fprint(c.Stderr, "mux_client_request_session: read from master failed: Broken pipe\r\n")
		if p.atLeast(2, 0) {
			p.t.Errorf("the first call after a restore hangs without --reconnect: %q", args)
		}
	}
	return g.Exec(c, args[4:], standin.ExecOptions{User: "u", Dir: "/", Env: []string{"SSH_CONNECTION=192.168.5.2 39216 192.168.5.15 22"}})
}

func (p *player) experimental(c *standin.Call) { warn(c, "`limactl snapshot` is experimental") }

// snapshot is "snapshot create|list|apply|delete NAME [--tag T|--quiet]", of an
// instance that runs.
func (p *player) snapshot(c *standin.Call, args []string) int {
	if len(args) < 3 {
		return p.unknown(c)
	}
	verb, id, tag := args[0], args[1], args[len(args)-1]
	g := p.host.Guest(id)
	p.experimental(c)
	switch {
	case g == nil:
		return fatal(c, "open %s/lima.yaml: no such file or directory", p.dir(id))
	case g.Attr["type"] != typeQEMU:
		return fatal(c, "unimplemented by the %v driver", g.Attr["type"])
	case verb == "list" && len(args) == 3 && args[2] == "--quiet":
		for _, s := range g.Snapshots() {
			c.Printf("%s\n", s.Name)
		}
		return 0
	case len(args) != 4 || args[2] != "--tag":
		return p.unknown(c)
	}
	return p.change(c, g, verb, tag)
}

// change is what snapshot does to a machine that runs: QEMU's monitor answers, and
// Lima is content with whatever that says.
func (p *player) change(c *standin.Call, g *standin.Guest, verb, tag string) int {
	var err error
	switch verb {
	case "create":
		err = g.Snapshot(tag, true)
	case "apply":
		err = g.Restore(tag)
		g.Lock()
		g.Attr["stale"] = true
		g.Unlock()
	case "delete":
		err = g.DeleteSnapshot(tag)
	default:
		return p.unknown(c)
	}
	if err != nil {
		warn(c, "output: Error: "+err.Error())
	}
	return 0
}

// clone is "clone FROM TO --start=false --tty=false".
func (p *player) clone(c *standin.Call, args []string) int {
	if len(args) != 4 || args[2] != "--start=false" || args[3] != "--tty=false" || !p.atLeast(1, 2) {
		return p.unknown(c)
	}
	g := p.host.Guest(args[0])
	switch {
	case g == nil:
		return fatal(c, "instance `%s` not found", args[0])
	case g.Running():
		return fatal(c, "cannot clone a running instance")
	}
	_, err := g.Clone(args[1], "")
	if errors.Is(err, fs.ErrExist) {
		return fatal(c, "instance `%s` already exists", args[1])
	}
	return p.said(c, errors.Join(err, os.MkdirAll(p.dir(args[1]), 0o700)))
}
