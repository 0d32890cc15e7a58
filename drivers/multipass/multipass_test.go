package multipass

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

func TestConformance(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	p.slow = 20 * time.Millisecond
	drivertest.Run(t, drivertest.Config{
		Driver: p.driver(), Image: ubuntu, Ring: drivertest.StandIn,
		Existing: func(t testing.TB) (string, func()) { return p.existing(t, "Running") },
	})
}

// TestConformanceReal runs the suite on the Multipass of this computer, if there
// is one.
func TestConformanceReal(t *testing.T) {
	if testing.Short() {
		t.Skip("it downloads an image")
	}
	d := New(cli.Config{Home: t.TempDir(), Agents: realAgent})
	drivertest.Run(t, drivertest.Config{
		Driver: d, Image: ubuntu, Memory: 1 << 30, Timeout: 20 * time.Minute,
		Existing: func(t testing.TB) (string, func()) { return realMachine(t, d.(*driver)) },
	})
}

// realAgent returns the agent that "make agent" has built.
func realAgent(arch string) ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "..", "cmd", "assay", "agent", "assay-agent-"+arch))
}

// realMachine launches a machine as a user would.
func realMachine(t testing.TB, d *driver) (string, func()) {
	const id = "assay-test-existing"
	t.Cleanup(func() {
		if err := d.destroy(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	if _, err := d.tool.Do(t.Context(), cli.Call{Args: []string{"launch", "--name", id, "22.04"}, Limit: launchMax}); err != nil {
		t.Fatal(err)
	}
	return id, func() {
		if err := d.in(context.Background(), id, stateRunning); err != nil {
			t.Error(err)
		}
		if _, err := d.inside.Run(context.Background(), "exec", id, "-n", "--", "test", "!", "-e", cli.AgentPath); err != nil {
			t.Errorf("the agent is still there: %v", err)
		}
	}
}

// ubuntu is an image of Multipass's own.
var ubuntu = vm.Image{Name: "22.04", OS: "ubuntu", Version: "22.04", Arch: "amd64", Digest: "multipass:22.04"}

// existing makes a user's instance in that state, and returns how to check that
// it is as it was.
func (p *player) existing(t testing.TB, in string) (string, func()) {
	g, err := p.host.Create("my-own", standin.Size{})
	if err == nil {
		err = errors.Join(g.AddUser("ubuntu", true), p.boot(g))
	}
	if err == nil && in == "Stopped" {
		err = g.Kill()
	}
	if err == nil && in == "Suspended" {
		err = g.Pause()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Delete)
	return g.Name(), g.Untouched(t)
}

// spec asks for a small machine.
func spec(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{Name: name, Owner: "test", Dir: filepath.Join(t.TempDir(), name), Image: ubuntu, CPUs: 1, Memory: 512 << 20}
}

// launch makes a machine that is closed with the test.
func launch(t *testing.T, d vm.Driver, s vm.Spec) *machine {
	t.Helper()
	m, err := d.Launch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m.(*machine)
}

// as returns the machine's ability.
func as[T any](t *testing.T, m vm.Machine) T {
	t.Helper()
	a, err := vm.As[T](m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAdoptGivesBackWhatItFound proves it for each state, with snapshots and a
// cable that was pulled.
func TestAdoptGivesBackWhatItFound(t *testing.T) {
	for _, in := range []string{"Running", "Stopped", "Suspended"} {
		t.Run(in, func(t *testing.T) {
			p := newPlayer(t, "1.16.3")
			id, check := p.existing(t, in)
			m, err := p.driver().(vm.Adopter).Adopt(t.Context(), id, spec(t, "mine"))
			if err != nil {
				t.Fatal(err)
			}
			if err := as[vm.Snapshotter](t, m).Snapshot(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if err := as[vm.Networker](t, m).SetLink(t.Context(), false); err != nil {
				t.Error(err)
			}
			if err := as[vm.Snapshotter](t, m).Restore(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			check()
			if got := p.host.Guests(); len(got) != 1 {
				t.Errorf("got %d instances, want the user's own alone", len(got))
			}
		})
	}
}

// TestSweepLeavesTheUsersMachine proves that what a dead run left beside machines
// of its own is found: the copy that forks are made of, and a snapshot of a
// machine that was adopted.
func TestSweepLeavesTheUsersMachine(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	id, _ := p.existing(t, "Stopped")
	m, err := p.driver().(vm.Adopter).Adopt(t.Context(), id, spec(t, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if err := as[vm.Snapshotter](t, m).Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.driver().Sweep(t.Context(), "test"); n != 0 || err != nil {
		t.Errorf("got %d, %v, want no machine", n, err)
	}
	g := p.host.Guest(id)
	if g == nil || len(g.Snapshots()) != 0 || len(p.host.Guests()) != 1 {
		t.Errorf("got %v, %d instances; want the user's machine, without a snapshot, and nothing else", g, len(p.host.Guests()))
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestOlderVersions proves that what a version lacks is known before anything is
// launched, with a way out, and that the others' arguments are its own.
func TestOlderVersions(t *testing.T) {
	base := []vm.Capability{vm.CapNetwork, vm.CapSuspend, vm.CapUsage}
	for _, c := range []struct {
		version, backend string
		want             []vm.Capability
	}{
		{"1.9.2", "qemu", base},
		{"1.12.2", "qemu", base},
		{"1.13.0", "qemu", append([]vm.Capability{vm.CapSnapshot}, base...)},
		{"1.14.1+mac", "qemu", append([]vm.Capability{vm.CapSnapshot}, base...)},
		{"1.15.0", "qemu", append([]vm.Capability{vm.CapSnapshot, vm.CapFork}, base...)},
		{"1.16.3", "lxd", []vm.Capability{vm.CapNetwork, vm.CapUsage}},
	} {
		t.Run(c.version+" "+c.backend, func(t *testing.T) {
			p := newPlayer(t, c.version)
			p.backend = c.backend
			d := p.driver()
			info, err := d.Probe(t.Context())
			if err != nil || !slices.Equal(info.Capabilities, c.want) || info.Version != "Multipass "+c.version {
				t.Errorf("got %+v, %v, want %v", info, err, c.want)
			}
			m := launch(t, d, spec(t, "m"))
			if got := vm.Of(m); !slices.Equal(got, c.want) {
				t.Errorf("the machine has %v, want %v", got, c.want)
			}
			s, err := vm.As[vm.Snapshotter](m)
			if err == nil {
				err = errors.Join(s.Snapshot(t.Context(), "a"), s.Restore(t.Context(), "a"))
				if err != nil {
					t.Error(err)
				}
				return
			}
			if u := (*vm.UnsupportedError)(nil); !errors.As(err, &u) || !strings.Contains(u.Instead, "captures") {
				t.Errorf("got %v, want a *vm.UnsupportedError that says what to do", err)
			}
		})
	}
}

// TestNoNetworkIsAFirewall proves that the guest of a machine without a network
// has one, after restarts and in forks too, and that the cable is another matter.
func TestNoNetworkIsAFirewall(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	d := p.driver()
	fenced := func(what, id string, want bool) {
		t.Helper()
		rules, err := p.host.Guest(id).Read("/run/ip-rules")
		got := strings.Contains(string(rules), "-4 pref 10 to 10.1.2.1 ipproto tcp sport 22") && strings.Contains(string(rules), "-4 pref 11 prohibit")
		if got != want || !want && len(rules) > 0 {
			t.Errorf("%s: got the rules %q, %v; want a firewall: %v", what, rules, err, want)
		}
	}
	m := launch(t, d, spec(t, "shut"))
	fenced("launch", m.id, true)
	if err := m.SetLink(t.Context(), true); err != nil {
		t.Error(err)
	}
	fenced("cable plugged in", m.id, true)
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	fenced("snapshot", m.id, true)
	fork, err := m.Fork(t.Context(), "a", spec(t, "fork"))
	if err != nil {
		t.Fatal(err)
	}
	fenced("fork", fork.ID(), true)
	if err := fork.Close(); err != nil {
		t.Error(err)
	}

	open := spec(t, "open")
	open.Network.Mode = vm.NetworkOpen
	m = launch(t, d, open)
	fenced("open", m.id, false)
	for _, up := range []bool{false, true} {
		if err := m.SetLink(t.Context(), up); err != nil {
			t.Error(err)
		}
		fenced("cable", m.id, !up)
	}
}

// TestRefusals proves that what cannot be is said before anything starts.
func TestRefusals(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	for what, edit := range map[string]func(*vm.Spec){
		"a kernel": func(s *vm.Spec) {
			s.Image = vm.Image{Name: "debian-12", Disk: "disk", Format: "raw", Kernel: "vmlinuz"}
		},
		"allow": func(s *vm.Spec) { s.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"pypi.org"}} },
	} {
		s := spec(t, "m")
		edit(&s)
		_, err := p.driver().Launch(t.Context(), s)
		if u := (*vm.UnsupportedError)(nil); !errors.As(err, &u) || u.Instead == "" {
			t.Errorf("%s: got %v, want a *vm.UnsupportedError that says what to do", what, err)
		}
	}
	for _, call := range p.host.Calls() {
		if call[1] != "version" && call[1] != "get" {
			t.Errorf("got the call %q, want questions only", call)
		}
	}
}

// TestImageFromAFile proves that a cloud image from a file is launched, that one
// that a snap cannot read is lent to it, and that nothing of that is left.
func TestImageFromAFile(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	path := filepath.Join(t.TempDir(), "a b.img")
	if err := os.WriteFile(path, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, "1.16.3")
	s := spec(t, "m")
	s.Image = vm.Image{Name: "mine", Disk: path, Format: "raw", Size: 2 << 30}
	m := launch(t, p.driver(), s)
	if got := p.host.Guest(m.id).Size().Disk; got != 2<<30 {
		t.Errorf("got a disk of %d bytes, want the image's", got)
	}
	if confined("/usr/bin/multipass") || !confined("/snap/bin/multipass") {
		t.Error("only what is in /snap is a snap")
	}
	staged := filepath.Join(stageDir(), m.id+".img")
	if !strings.HasPrefix(staged, filepath.Join(home, "snap", "multipass")) {
		t.Errorf("got the stage %s, want one below the home that the snap may read", staged)
	}
	if err := errors.Join(os.MkdirAll(stageDir(), 0o700), share(path, staged)); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(staged); err != nil || string(data) != "disk" {
		t.Errorf("got %q, %v, want the image", data, err)
	}
	if err := unstageAll("another"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(staged); err != nil {
		t.Errorf("another owner's sweep: %v", err)
	}
	if err := unstageAll("test"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(staged); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the sweep: got %v, want it gone", err)
	}
}

func TestFileURL(t *testing.T) {
	for path, want := range map[string]string{
		"/home/u/a b.img": "file:///home/u/a%20b.img",
		"C:/x.img":        "file:///C:/x.img",
	} {
		if got := fileURL(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestImage(t *testing.T) {
	d := New(cli.Config{}).(vm.Catalog)
	for name, want := range map[string][2]string{
		"22.04": {"ubuntu", "22.04"}, "jammy": {"ubuntu", "22.04"}, "daily:noble": {"ubuntu", "24.04"}, "lts": {"ubuntu", "lts"},
		"core22": {"ubuntu-core", "22"}, "debian": {"debian", ""},
	} {
		img, err := d.Image(t.Context(), name)
		if err != nil || img.OS != want[0] || img.Version != want[1] || img.Name != name || img.Digest == "" || img.Disk != "" {
			t.Errorf("%s: got %+v, %v, want %v", name, img, err, want)
		}
	}
	for _, name := range []string{"debian-12", "", "nosuch", "22.04/x", "../22.04", "template:ubuntu"} {
		if img, err := d.Image(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got %+v, %v, want fs.ErrNotExist", name, img, err)
		}
	}
}
