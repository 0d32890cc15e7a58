package incus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// real is a real daemon and what is tested with it beside the suite.
type real struct {
	d      *daemon
	img    vm.Image
	driver *driver
}

func (r *real) spec(t *testing.T, name string) vm.Spec {
	return vm.Spec{Name: name, Owner: "test " + t.Name(), Dir: filepath.Join(t.TempDir(), name), Image: r.img, CPUs: 1, Memory: 256 << 20}
}

// launch makes a machine that is closed with the test, and a line into it.
func (r *real) launch(t *testing.T, spec vm.Spec) (*machine, *guest.Client) {
	t.Helper()
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := r.driver.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", spec.Dir, err)
		}
	})
	return m.(*machine), dial(t, m)
}

func dial(t *testing.T, m vm.Machine) *guest.Client {
	t.Helper()
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// sh runs a line as root and returns what it printed.
func sh(t *testing.T, c *guest.Client, line string) string {
	t.Helper()
	var out bytes.Buffer
	exit, err := c.Exec(t.Context(), guest.Command{Shell: line, User: "root"}, nil, &out, &out)
	if err != nil || exit.Code != 0 {
		t.Fatalf("%s: got %+v, %v, %s", line, exit, err, out.String())
	}
	return out.String()
}

// ends waits for the end of a line and returns its reason.
func ends(t *testing.T, c *guest.Client) error {
	t.Helper()
	select {
	case <-c.Done():
		return c.Err()
	case <-time.After(time.Minute):
		t.Fatal("the line does not end")
		return nil
	}
}

// existing makes a container that knows nothing of assay, and is off.
func (r *real) existing(t testing.TB) (name string, check func()) {
	name = "mine"
	d := *r.d
	if sub, ok := t.(*testing.T); ok {
		d.t = sub
	}
	s, err := r.driver.server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, err := r.driver.imported(t.Context(), s, vm.Spec{Image: r.img})
	if err != nil {
		t.Fatal(err)
	}
	d.must("init", "-q", fingerprint, name)
	t.Cleanup(func() { d.must("delete", "--force", name) })
	d.must("start", name)
	d.must("exec", name, "--", "sh", "-c", "rm -rf /usr/lib/assay /etc/sudoers.d/tester; userdel -r tester 2>/dev/null; echo mine >/root/mine")
	d.must("stop", name, "--force")
	before := d.must("query", "/1.0/instances/"+name+"/snapshots") + r.devices(t, name)
	return name, func() {
		if got := d.must("list", name, "-f", "csv", "-c", "s"); got != "STOPPED" {
			t.Errorf("it is %s, want STOPPED as it was", got)
		}
		if after := d.must("query", "/1.0/instances/"+name+"/snapshots") + r.devices(t, name); after != before {
			t.Errorf("snapshots and devices: got %s, want %s", after, before)
		}
		d.must("start", name)
		defer d.must("stop", name, "--force")
		const left = "ls -d /usr/lib/assay /home/tester /etc/sudoers.d/tester 2>/dev/null; getent passwd tester; cat /root/mine"
		if got := d.must("exec", name, "--", "sh", "-c", left); got != "mine" {
			t.Errorf("in it: got %q, want only what was there", got)
		}
	}
}

// devices are those of an instance, as text that can be compared.
func (r *real) devices(t testing.TB, name string) string {
	i, err := (&server{tool: r.d.tool}).instance(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{i.Devices, i.AllDevices})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A daemon that is killed takes lines and calls along, and no container; with
// the next one everything goes on.
func (r *real) daemonKilled(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "killed"))
	sh(t, c, "echo still here >/run/mark")
	slow := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), guest.Command{Shell: "sleep 1000"}, nil, nil, nil)
		slow <- err
	}()
	r.d.kill()
	if err := ends(t, c); !errors.Is(err, cli.ErrDaemon) {
		t.Errorf("the line: got %v, want cli.ErrDaemon", err)
	}
	var line *guest.LineError
	if err := <-slow; !errors.As(err, &line) {
		t.Errorf("a command: got %v, want a *guest.LineError", err)
	}
	if err := m.Snapshot(t.Context(), "s"); !errors.Is(err, cli.ErrDaemon) {
		t.Errorf("a snapshot: got %v, want cli.ErrDaemon", err)
	}
	var gone *vm.UnavailableError
	if _, err := r.driver.Probe(t.Context()); !errors.As(err, &gone) || !strings.Contains(gone.Fix, "start") {
		t.Errorf("the probe: got %v, want a *vm.UnavailableError that says how to start it", err)
	}
	if _, err := r.driver.Launch(t.Context(), r.spec(t, "never")); !errors.As(err, &gone) {
		t.Errorf("a launch: got %v, want a *vm.UnavailableError", err)
	}
	if _, err := r.driver.Sweep(t.Context(), "anybody"); !errors.Is(err, cli.ErrDaemon) {
		t.Errorf("a sweep: got %v, want cli.ErrDaemon", err)
	}
	if err := m.Close(); !errors.Is(err, cli.ErrDaemon) {
		t.Errorf("Close without a daemon: got %v, want cli.ErrDaemon: the container still runs", err)
	}
	r.d.revive()
	if got := r.d.must("exec", m.ID(), "--", "cat", "/run/mark"); got != "still here" {
		t.Errorf("after the daemon's death the container says %q", got)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close with a new daemon: %v", err)
	}
}

// A container that somebody else deletes is no StoppedError: it was not the guest.
func (r *real) deleted(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "deleted"))
	r.d.must("delete", "--force", m.ID())
	var stopped *vm.StoppedError
	if err := ends(t, c); errors.As(err, &stopped) || !strings.Contains(err.Error(), "by this program") {
		t.Errorf("the line: got %v, want that somebody else ended the instance", err) // which is stopped first, then deleted
	}
	if _, err := m.Dial(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Dial: got %v, want fs.ErrNotExist", err)
	}
	if err := m.Snapshot(t.Context(), "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Snapshot: got %v, want fs.ErrNotExist", err)
	}
	if _, err := m.Usage(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Usage: got %v, want fs.ErrNotExist", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil: nothing is left", err)
	}
}

// A guest that ends itself is told from a hypervisor that fails, and can be
// taken back to life.
func (r *real) shutsDown(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "off"))
	if err := m.Snapshot(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	c = dial(t, m)
	sh(t, c, "systemctl poweroff --no-block")
	var stopped *vm.StoppedError
	if err := ends(t, c); !errors.As(err, &stopped) {
		t.Errorf("the line: got %v, want a *vm.StoppedError", err)
	}
	if err := m.Restore(t.Context(), "before"); err != nil {
		t.Fatal(err)
	}
	sh(t, dial(t, m), "true")
}

func (r *real) restarts(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "again"))
	sh(t, c, "systemctl reboot --no-block")
	var stopped *vm.StoppedError
	if err := ends(t, c); !errors.As(err, &stopped) {
		t.Errorf("the line: got %v, want a *vm.StoppedError", err)
	}
	_ = m
}

// A machine without a network has no card; one with has the default profile's,
// which can be taken out and put back.
func (r *real) card(t *testing.T) {
	const count = "ls /sys/class/net | grep -vx lo | wc -l"
	_, c := r.launch(t, r.spec(t, "none"))
	if got := sh(t, c, count); got != "0\n" {
		t.Errorf("without a network: got %q cards, want 0", got)
	}
	spec := r.spec(t, "open")
	spec.Network.Mode = vm.NetworkOpen
	m, c := r.launch(t, spec)
	if got := sh(t, c, count); got != "1\n" {
		t.Errorf("with a network: got %q cards, want 1", got)
	}
	for _, step := range []struct {
		up   bool
		want string
	}{{false, "0\n"}, {false, "0\n"}, {true, "1\n"}, {false, "0\n"}} {
		if err := m.SetLink(t.Context(), step.up); err != nil {
			t.Fatal(err)
		}
		if got := sh(t, c, count); got != step.want {
			t.Errorf("link %v: got %q cards, want %q", step.up, got, step.want)
		}
	}
	if err := m.Snapshot(t.Context(), "unplugged"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(m.SetLink(t.Context(), true), m.Restore(t.Context(), "unplugged")); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, dial(t, m), count); got != "0\n" {
		t.Errorf("after going back to when it was unplugged: got %q cards, want 0", got)
	}
	if err := m.SetLink(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, dial(t, m), count); got != "1\n" {
		t.Errorf("plugged in again: got %q cards, want 1", got)
	}
	spec = r.spec(t, "allow")
	spec.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"example.org"}}
	if _, err := r.driver.Launch(t.Context(), spec); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("allow: got %v, want errors.ErrUnsupported", err)
	}
}

// localName launches from a name that the server knows, of an image that has no
// agent and no test user: they are put in.
func (r *real) localName(t *testing.T) {
	name, _ := r.existing(t)
	r.d.must("publish", "-q", name, "--alias", "plain/12")
	t.Cleanup(func() { r.d.must("image", "delete", "plain/12") })
	spec := r.spec(t, "plain")
	var err error
	if spec.Image, err = r.driver.Image(t.Context(), "local:plain/12"); err != nil {
		t.Fatal(err)
	}
	_, c := r.launch(t, spec)
	info, err := c.Info(t.Context())
	if err != nil || info.User != "tester" || info.OS.ID != "debian" {
		t.Errorf("got %+v, %v; want the test user on Debian", info, err)
	}
	spec = r.spec(t, "nowhere")
	for _, name := range []string{"local:no/such", "nowhere:debian/12"} {
		spec.Image = vm.Image{Name: name}
		if _, err := r.driver.Launch(t.Context(), spec); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want fs.ErrNotExist", name, err)
		}
	}
	spec.Image = vm.Image{Name: "images:debian/12"}
	if _, err := r.driver.Launch(t.Context(), spec); !errors.Is(err, cli.ErrNetwork) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("images:debian/12 without a network: got %v, want cli.ErrNetwork", err)
	}
}

// The agent ends with its line, also when the client is killed.
func (r *real) cutLine(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "lines"))
	for range 3 {
		c = dial(t, m)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		got := sh(t, c, "pgrep -fc '[a]ssay-agent stdio'")
		if got == "1\n" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("got %s agents, want 1", got)
		}
	}
}

// An adopted machine goes back to the state that it was found in, and snapshots
// and cards with it.
func (r *real) adoptedFrozen(t *testing.T) {
	name, _ := r.existing(t)
	r.d.must("start", name)
	before := r.devices(t, name)
	r.d.must("pause", name)
	spec := r.spec(t, "adopted")
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m, err := r.driver.Adopt(t.Context(), name, spec)
	if err != nil {
		t.Fatal(err)
	}
	a := m.(*machine)
	if err := errors.Join(a.Snapshot(t.Context(), "one"), a.SetLink(t.Context(), false)); err != nil {
		t.Error(err)
	}
	sh(t, dial(t, m), "test -x "+cli.AgentPath)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if got := r.d.must("list", name, "-f", "csv", "-c", "s"); got != "FROZEN" {
		t.Errorf("it is %s, want FROZEN as it was", got)
	}
	if after := r.devices(t, name); after != before {
		t.Errorf("devices: got %s, want %s", after, before)
	}
	if got := r.d.must("query", "/1.0/instances/"+name+"/snapshots"); got != "[]" {
		t.Errorf("snapshots are left: %s", got)
	}
}

// A suspended machine can be closed, and restored.
func (r *real) frozen(t *testing.T) {
	m, _ := r.launch(t, r.spec(t, "frozen"))
	if err := errors.Join(m.Snapshot(t.Context(), "s"), m.Suspend(t.Context()), m.Restore(t.Context(), "s")); err != nil {
		t.Fatal(err)
	}
	sh(t, dial(t, m), "true")
	if err := errors.Join(m.Suspend(t.Context()), m.Close()); err != nil {
		t.Error(err)
	}
}

// A guest whose init is gone does not come up, and that is its own affair.
func (r *real) brokenInit(t *testing.T) {
	m, c := r.launch(t, r.spec(t, "broken"))
	sh(t, c, "rm /sbin/init /lib/systemd/systemd")
	if err := m.Snapshot(t.Context(), "broken"); err != nil {
		t.Fatal(err)
	}
	var boot *vm.BootError
	if err := m.Restore(t.Context(), "broken"); !errors.As(err, &boot) {
		t.Errorf("got %v, want a *vm.BootError", err)
	}
}

// Images that nobody used for a week go; those of others stay.
func (r *real) trimmed(t *testing.T) {
	r.d.must("image", "list", "-f", "csv")
	if freed, err := r.driver.Trim(t.Context()); err != nil || freed != 0 {
		t.Errorf("got %d, %v, want 0: it was used today", freed, err)
	}
	if freed, err := r.driver.trim(t.Context(), -time.Hour); err != nil || freed < 100<<20 {
		t.Errorf("got %d, %v, want the image's hundreds of megabytes", freed, err)
	}
	if got := r.d.must("image", "list", "-f", "csv"); strings.Contains(got, aliasPrefix) {
		t.Errorf("images are left: %s", got)
	}
}
