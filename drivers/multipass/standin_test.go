package multipass

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

func TestMain(m *testing.M) { standin.Main(m) }

// A player is a made-up Multipass: a daemon that keeps instances, and the command
// that asks it. Its words are those of the researched contract.
type player struct {
	t       testing.TB
	host    *standin.Host
	version string
	backend string
	slow    time.Duration // how long the daemon takes to prepare an image
}

// newPlayer installs a Multipass of that version.
func newPlayer(t testing.TB, version string) *player {
	p := &player{t: t, version: version, backend: "qemu"}
	p.host = standin.New(t, "multipass", p.play)
	return p
}

// driver returns the driver under test. The test sets the player up before.
func (p *player) driver() vm.Driver {
	p.host.Calls() // takes a lock: what the test has set, the player's goroutines see
	return New(cli.Config{Home: p.t.TempDir(), Agents: standin.AgentProgram})
}

// atLeast reports whether the player is as new as 1.minor.
func (p *player) atLeast(minor int) bool {
	v, _, _ := cli.FindVersion(p.version)
	return v.AtLeast(1, minor)
}

// play is the command.
func (p *player) play(c *standin.Call) int {
	if c.Getenv("LC_ALL") != "C" {
		p.t.Errorf("%q: got LC_ALL %q, want C", c.Args, c.Getenv("LC_ALL"))
	}
	verbs := map[string]func(*standin.Call, []string) int{
		"version": p.sayVersion, "get": p.get, "launch": p.launch, "info": p.info, "list": p.list, "exec": p.exec,
		"start": p.start, "stop": p.stop, "suspend": p.suspend, "delete": p.delete,
		"snapshot": p.snapshot, "restore": p.restore, "clone": p.clone,
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
	p.t.Errorf("multipass %q: the contract knows no such call", c.Args)
	return c.Fail(1, "Unknown option or command: %q", c.Args)
}

// broken plays what is wrong with the host.
func (p *player) broken(c *standin.Call) (code int, broken bool) {
	verb := c.Args[0]
	switch mode := p.host.Broken(); {
	case mode == "daemon" && verb == "version":
		return c.Printf("{\"multipass\":%q}\n", p.version), true
	case mode == "daemon":
		return c.Fail(3, "%s failed: cannot connect to the multipass socket", verb), true
	case mode == "half" && verb == "clone":
		return c.Fail(2, "clone failed: No space left on device"), true
	case mode == "full" && (verb == "launch" || verb == "snapshot" || verb == "clone"):
		return c.Fail(2, "%s failed: qemu-img failed: error while writing: No space left on device", verb), true
	case mode == "tools" && verb == "exec":
		return c.Fail(2, "exec failed: ssh connection failed: 'Connection refused'"), true
	case mode == "german" && verb != "version" && verb != "get":
		return c.Fail(2, "%s fehlgeschlagen: die Instanz ist nicht verfügbar", verb), true
	case mode == "hang" && verb == "launch":
		return c.Hang(), true
	case mode == "lying" && (verb == "launch" || verb == "snapshot" || verb == "restore" || verb == "clone" || verb == "stop"):
		return c.Printf("%s failed: something went wrong\n", verb), true
	}
	return 0, false
}

// match reads arguments by a pattern: words in capitals take anything, [A] is a
// word that may be missing.
func match(args, pattern string) (values map[string]string, ok bool) {
	values = map[string]string{}
	words := strings.Split(args, "\x00")
	for want := range strings.FieldsSeq(pattern) {
		optional := strings.HasPrefix(want, "[")
		want = strings.Trim(want, "[]")
		switch {
		case len(words) == 0:
			return nil, optional
		case want == strings.ToUpper(want) && want != strings.ToLower(want):
			values[want] = words[0]
		case want == words[0]:
			values[want] = want
		case optional:
			continue
		default:
			return nil, false
		}
		words = words[1:]
	}
	return values, len(words) == 0
}

func joined(args []string) string { return strings.Join(args, "\x00") }

func (p *player) sayVersion(c *standin.Call, args []string) int {
	if _, ok := match(joined(args), "--format json"); !ok {
		return p.unknown(c)
	}
	return c.Printf("{\n    \"multipass\": %q,\n    \"multipassd\": %q\n}\n", p.version, p.version)
}

func (p *player) get(c *standin.Call, args []string) int {
	if _, ok := match(joined(args), "local.driver"); !ok {
		return p.unknown(c)
	}
	return c.Printf("%s\n", p.backend)
}

var instanceName = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// launch is "launch --name N --cpus C --memory M [--disk D] --cloud-init - --timeout T IMAGE".
// The daemon goes on when the command is killed.
func (p *player) launch(c *standin.Call, args []string) int {
	memory := "--memory"
	if !p.atLeast(11) {
		memory = "--mem"
	}
	v, ok := match(joined(args), "--name NAME --cpus CPUS "+memory+" MEMORY --disk DISK --cloud-init - --timeout T IMAGE")
	if !ok {
		v, ok = match(joined(args), "--name NAME --cpus CPUS "+memory+" MEMORY --cloud-init - --timeout T IMAGE")
	}
	if !ok {
		return p.unknown(c)
	}
	data, err := io.ReadAll(c.Stdin)
	if err != nil || !strings.HasPrefix(string(data), "#cloud-config\n") {
		p.t.Errorf("launch: got user-data %q, %v", data, err)
	}
	if !instanceName.MatchString(v["NAME"]) {
		return c.Fail(2, "launch failed: Invalid arguments supplied\nInvalid instance name supplied: %s", v["NAME"])
	}
	if err := p.image(v["IMAGE"]); err != nil {
		return c.Fail(2, "launch failed: %v", err)
	}
	if p.host.Guest(v["NAME"]) != nil {
		return c.Fail(2, "launch failed: instance %q already exists", v["NAME"])
	}
	c.Printf("\b\b-\x1b[2K\rRetrieving image: 1%%")
	time.Sleep(p.slow)
	if err := p.create(v); err != nil {
		return c.Fail(2, "launch failed: %v", err)
	}
	return c.Printf("\b\b\\\x1b[2K\rStarting %[1]s\b\b|\x1b[2K\rWaiting for initialization to complete\x1b[2K\rLaunched: %[1]s\n", v["NAME"])
}

// image fails if there is none of that name.
func (p *player) image(name string) error {
	if path, local := strings.CutPrefix(name, "file://"); local {
		path, err := url.PathUnescape(path)
		if err == nil {
			_, err = os.Stat(path)
		}
		return err
	}
	if _, _, known := release(name); !known {
		return fmt.Errorf("Unable to find an image matching %q in remote \"\".", name) //nolint:staticcheck // Multipass's words
	}
	return nil
}

func (p *player) create(v map[string]string) error {
	cpus, err1 := strconv.Atoi(v["CPUS"])
	memory, err2 := strconv.ParseInt(v["MEMORY"], 10, 64)
	disk, err3 := strconv.ParseInt(v["DISK"]+"0", 10, 64)
	g, err := p.host.Create(v["NAME"], standin.Size{CPUs: cpus, Memory: memory, Disk: disk / 10})
	if err := errors.Join(err1, err2, err3, err); err != nil {
		return err
	}
	return errors.Join(g.AddUser("ubuntu", true), p.boot(g))
}

// boot starts a guest, whose kernel keeps books.
func (p *player) boot(g *standin.Guest) error {
	return errors.Join(
		g.Write("/proc/stat", []byte("cpu  100 0 50 1000 0 0 0 0 0 0\n"), 0o444),
		g.Write("/proc/meminfo", []byte("MemTotal: 524288 kB\nMemAvailable: 400000 kB\n"), 0o444), g.Start())
}

// missing answers for an instance that is not there.
func missing(c *standin.Call, id string) int {
	return c.Fail(2, "%s failed: The following errors occurred:\ninstance %q does not exist", c.Args[0], id)
}

func state(g *standin.Guest) string {
	switch {
	case g.Paused():
		return "Suspended"
	case g.Running():
		return "Running"
	}
	return "Stopped"
}

func (p *player) info(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "NAME --format json")
	if !ok {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	if g == nil {
		return missing(c, v["NAME"])
	}
	disk, memory, count := map[string]any{}, map[string]any{}, ""
	if state(g) == "Running" {
		disk = map[string]any{"used": strconv.FormatInt(g.Used(), 10), "total": "5116440064"}
		memory, count = map[string]any{"used": 38797312, "total": g.Size().Memory}, strconv.Itoa(g.Size().CPUs)
	}
	return p.json(c, map[string]any{"errors": []string{}, "info": map[string]any{g.Name(): map[string]any{
		"state": state(g), "image_hash": "1797c5c8", "image_release": "22.04 LTS", "release": "", "cpu_count": count,
		"load": []float64{}, "disks": map[string]any{"sda1": disk}, "memory": memory, "ipv4": []string{}, "mounts": map[string]any{},
	}}})
}

func (p *player) json(c *standin.Call, answer any) int {
	data, err := json.MarshalIndent(answer, "", "    ")
	if err != nil {
		p.t.Error(err)
	}
	return c.Printf("%s\n", data)
}

func (p *player) list(c *standin.Call, args []string) int {
	if _, ok := match(joined(args), "--snapshots --format json"); ok && p.atLeast(13) {
		return p.listSnapshots(c)
	}
	if _, ok := match(joined(args), "--format json"); !ok {
		return p.unknown(c)
	}
	list := []any{}
	for _, g := range p.host.Guests() {
		list = append(list, map[string]any{"name": g.Name(), "state": state(g), "ipv4": []string{}, "release": "Ubuntu 22.04 LTS"})
	}
	return p.json(c, map[string]any{"list": list})
}

func (p *player) listSnapshots(c *standin.Call) int {
	all := map[string]any{}
	for _, g := range p.host.Guests() {
		snapshots := map[string]any{}
		for _, s := range g.Snapshots() {
			snapshots[s.Name] = map[string]any{"parent": s.Parent, "comment": ""}
		}
		if len(snapshots) > 0 {
			all[g.Name()] = snapshots
		}
	}
	return p.json(c, map[string]any{"errors": []string{}, "info": all})
}

// exec is "exec NAME [-n] -- ARGV…". It starts what is off, as the real one does.
func (p *player) exec(c *standin.Call, args []string) int {
	head := 2
	if p.atLeast(10) {
		head = 3
	}
	v, ok := match(joined(args[:min(head, len(args))]), "NAME [-n] --")
	if !ok || len(args) == head || (v["-n"] != "") != p.atLeast(10) {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	if g == nil {
		return missing(c, v["NAME"])
	}
	if !g.Running() {
		p.t.Errorf("exec starts the instance %s, which is off", v["NAME"])
		if err := p.boot(g); err != nil {
			return c.Fail(2, "exec failed: %v", err)
		}
	}
	return g.Exec(c, args[head:], standin.ExecOptions{User: "ubuntu", Env: []string{"SSH_CONNECTION=10.1.2.1 40000 10.1.2.3 22"}})
}

func (p *player) start(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "NAME --timeout T")
	if !ok {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	switch {
	case g == nil:
		return c.Fail(2, "start failed: Instance '%s' does not exist.", v["NAME"])
	case g.Paused():
		return p.said(c, g.Resume())
	case g.Running():
		return 0
	}
	return p.said(c, p.boot(g))
}

// said turns an error into the command's end.
func (p *player) said(c *standin.Call, err error) int {
	if err != nil {
		return c.Fail(2, "%s failed: %v", c.Args[0], err)
	}
	return 0
}

func (p *player) stop(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "[--force] NAME")
	if !ok || v["--force"] != "" && !p.atLeast(14) {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	switch {
	case g == nil:
		return missing(c, v["NAME"])
	case g.Paused() && v["--force"] == "":
		return c.Fail(2, "stop failed: Cannot shut down suspended instance %s.\nUse --force to power it off.", v["NAME"])
	case !g.Running():
		return 0
	case v["--force"] == "":
		return p.said(c, g.Shutdown())
	}
	return p.said(c, g.Kill())
}

func (p *player) suspend(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "NAME")
	if !ok {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	switch {
	case g == nil:
		return missing(c, v["NAME"])
	case p.backend == "lxd":
		return c.Fail(2, "suspend failed: The suspend feature is not implemented on this backend.")
	case !g.Running():
		return 0
	}
	return p.said(c, g.Pause())
}

// delete is "delete --purge NAME[.SNAPSHOT]", and nothing else: what others have
// deleted without purging is not for us to purge.
func (p *player) delete(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "--purge WHAT")
	if !ok {
		return p.unknown(c)
	}
	id, tag, isSnapshot := strings.Cut(v["WHAT"], ".")
	g := p.host.Guest(id)
	if g == nil {
		return missing(c, id)
	}
	if !isSnapshot {
		g.Delete()
		return 0
	}
	if err := g.DeleteSnapshot(tag); err != nil {
		return c.Fail(2, "delete failed: No such snapshot: %s.%s", id, tag)
	}
	return 0
}

func (p *player) snapshot(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "NAME --name SNAP --comment TEXT")
	if !ok || !p.atLeast(13) {
		return p.unknown(c)
	}
	g := p.host.Guest(v["NAME"])
	switch {
	case g == nil:
		return missing(c, v["NAME"])
	case p.backend == "lxd":
		return c.Fail(2, "snapshot failed: The snapshots feature is not implemented on this backend.")
	case g.Running():
		return c.Fail(2, "snapshot failed: Multipass can only take snapshots of stopped instances.")
	case !instanceName.MatchString(v["SNAP"]):
		return c.Fail(2, "snapshot failed: Invalid snapshot name: %q.", v["SNAP"])
	}
	if err := g.Snapshot(v["SNAP"], false); errors.Is(err, fs.ErrExist) {
		return c.Fail(2, "snapshot failed: Snapshot already exists: %s.%s", v["NAME"], v["SNAP"])
	}
	return c.Printf("\b\b-\x1b[2K\rTaking snapshot\x1b[2K\rSnapshot taken: %s.%s\n", v["NAME"], v["SNAP"])
}

func (p *player) restore(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "--destructive WHAT")
	if !ok || !p.atLeast(13) {
		return p.unknown(c)
	}
	id, tag, _ := strings.Cut(v["WHAT"], ".")
	g := p.host.Guest(id)
	switch {
	case g == nil:
		return missing(c, id)
	case g.Running():
		return c.Fail(2, "restore failed: Multipass can only restore snapshots of stopped instances.")
	}
	if err := g.Restore(tag); err != nil {
		return c.Fail(2, "restore failed: No such snapshot: %s.%s", id, tag)
	}
	return c.Printf("\b\b-\x1b[2K\rSnapshot restored: %s.%s\n", id, tag)
}

func (p *player) clone(c *standin.Call, args []string) int {
	v, ok := match(joined(args), "FROM --name TO")
	if !ok || !p.atLeast(15) {
		return p.unknown(c)
	}
	g := p.host.Guest(v["FROM"])
	switch {
	case g == nil:
		return missing(c, v["FROM"])
	case g.Running():
		return c.Fail(2, "clone failed: Multipass can only clone stopped instances.")
	}
	if _, err := g.Clone(v["TO"], ""); errors.Is(err, fs.ErrExist) {
		return c.Fail(2, "clone failed: instance %q already exists", v["TO"])
	}
	return c.Printf("\b\b-\x1b[2K\rCloned from %s to %s.\n", v["FROM"], v["TO"])
}
