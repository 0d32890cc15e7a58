package parallels

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/guest"
	"assay/vm"
)

// TestSuite runs the suite on clones of a virtual machine with Parallels Tools.
func TestSuite(t *testing.T) {
	d, p := install(t)
	p.have("Debian")
	drivertest.Run(t, drivertest.Config{
		Driver: d, Ring: drivertest.StandIn, Image: vm.Image{Name: "template:Debian"},
		Existing: func(t testing.TB) (string, func()) { return p.existing(t, running) },
	})
}

// TestSuiteOnCloudImage runs it on machines that have a seed disk and a serial
// port, and no Parallels Tools.
func TestSuiteOnCloudImage(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSuite runs the same rows on the other kind of machine")
	}
	d, p := install(t)
	drivertest.Run(t, drivertest.Config{
		Driver: d, Ring: drivertest.StandIn, Image: cloudImage(t),
		Existing: func(t testing.TB) (string, func()) { return p.existing(t, stopped) },
	})
}

// existing makes a machine of the user's that is in a state.
func (p *player) existing(t testing.TB, state string) (string, func()) {
	t.Helper()
	name := "mine-" + rand.Text()[:6]
	g := p.have(name)
	p.put(g, state)
	return name, func() {
		t.Helper()
		if _, b := p.inspect(name); b.State != state {
			t.Errorf("the machine is %s, want it %s as before", b.State, state)
		}
		if snapshots := g.Snapshots(); len(snapshots) > 0 {
			t.Errorf("the machine has the snapshots %v, want none", snapshots)
		}
		if _, err := g.Read(cli.AgentPath); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the agent's file: got %v, want it gone", err)
		}
		if users, err := g.Read("/etc/passwd"); err != nil || bytes.Contains(users, []byte("tester")) {
			t.Errorf("the users: got %q, %v, want no tester", users, err)
		}
	}
}

// put brings a machine of the user's into a state.
func (p *player) put(g *standin.Guest, state string) {
	p.t.Helper()
	boxes.Lock()
	defer boxes.Unlock()
	b := of(g)
	b.State = state
	if state == stopped {
		return
	}
	err := g.Start()
	if state != running && err == nil {
		err = g.Pause()
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestAdoptInEveryState proves that an adopted machine goes back to what it was,
// though it was forked meanwhile, and though its guest switched itself off.
func TestAdoptInEveryState(t *testing.T) {
	d, p := install(t)
	for _, state := range []string{running, stopped, suspended, paused} {
		t.Run(state, func(t *testing.T) {
			name, check := p.existing(t, state)
			m, err := d.Adopt(t.Context(), name, spec(t, "one"))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.(vm.Snapshotter).Snapshot(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			fork, err := m.(vm.Forker).Fork(t.Context(), "a", spec(t, "two"))
			if err != nil {
				t.Fatal(err)
			}
			if err := m.(vm.Suspender).Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			answers(t, fork) // on the snapshot, which is still there
			if err := fork.Close(); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
	t.Run("switched off", func(t *testing.T) {
		name, check := p.existing(t, running)
		m, err := d.Adopt(t.Context(), name, spec(t, "one"))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.host.Guest(name).Shutdown(); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		check()
	})
}

// TestGuestEnds proves that a line that broke says that the guest is the cause,
// on both kinds of line.
func TestGuestEnds(t *testing.T) {
	d, p := install(t)
	p.have("Debian")
	for name, img := range map[string]vm.Image{"exec": {Name: "template:Debian"}, "serial": cloudImage(t)} {
		ask := spec(t, name)
		ask.Image = img
		m, err := d.Launch(t.Context(), ask)
		must(t, err)
		conn, err := m.Dial(t.Context())
		must(t, err)
		must(t, p.host.Guest(m.(*machine).name).Shutdown())
		_, err = io.ReadAll(conn)
		if stopped := (*vm.StoppedError)(nil); !errors.As(err, &stopped) {
			t.Errorf("%s: got %v, want a *vm.StoppedError", name, err)
		}
		conn.Close()
		must(t, m.Close())
	}
}

// spec asks for a small machine of this test's.
func spec(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{Name: name, Owner: t.Name(), Dir: t.TempDir(), CPUs: 1, Memory: 512 << 20}
}

// answers fails unless the machine's agent runs a command.
func answers(t *testing.T, m vm.Machine) {
	t.Helper()
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if exit, err := c.Exec(t.Context(), guest.Command{Shell: "exit 7"}, nil, nil, nil); err != nil || exit.Code != 7 {
		t.Fatalf("got %+v, %v, want exit code 7", exit, err)
	}
}

// cloudImage is a disk that nobody looks into.
func cloudImage(t *testing.T) vm.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, bytes.Repeat([]byte("disk"), 1<<18), 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Image{Name: "debian-13", Arch: runtime.GOARCH, Disk: path, Format: "raw", Size: 1 << 20, Firmware: "uefi"}
}
