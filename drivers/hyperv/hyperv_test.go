package hyperv

import (
	"context"
	"crypto/sha256"
	"fmt"
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

func TestMain(m *testing.M) { standin.Main(m) }

// cloudImage returns a disk that boots itself, as far as anybody here looks.
func cloudImage(t testing.TB) vm.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	data := make([]byte, 3<<20)
	data[510], data[511] = 0x55, 0xAA
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Image{
		Name: "debian-12", OS: "debian", Version: "12", Arch: runtime.GOARCH, Disk: path, Format: "raw", Size: int64(len(data)),
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)),
	}
}

// standIn returns a driver on a stand-in for Hyper-V, and the state folder.
func standIn(t *testing.T) (*driver, *player, string) {
	t.Helper()
	home := t.TempDir()
	p := newPlayer(t)
	d := New(cli.Config{Home: home, Agents: standin.AgentProgram}).(*driver)
	d.shell.Systems = nil // this host plays a Windows
	d.connect = p.connect
	return d, p, home
}

// TestStandIn runs the whole suite through PowerShell's stand-in.
func TestStandIn(t *testing.T) {
	d, p, home := standIn(t)
	drivertest.Run(t, drivertest.Config{Driver: d, Image: cloudImage(t), Ring: drivertest.StandIn, Existing: p.existing})
	p.nothingLeft(home)
}

// existing makes a machine as a user could have, that is off.
func (p *player) existing(t testing.TB) (string, func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := fmt.Sprintf("User's machine %d", p.count)
	g, err := p.host.Create(name, standin.Size{})
	if err == nil {
		err = g.AddUser("debian", true)
	}
	if err != nil {
		t.Fatal(err)
	}
	set(g, "id", p.guid())
	set(g, "address", fmt.Sprintf("10.9.8.%d", p.count))
	t.Cleanup(g.Delete)
	return name, func() {
		t.Helper()
		if s := state(g); s != off || len(g.Snapshots()) != 0 {
			t.Errorf("the machine is %s with %d checkpoints, want it Off with none", s, len(g.Snapshots()))
		}
		if _, err := g.Read(cli.AgentPath); err == nil {
			t.Errorf("%s is still there", cli.AgentPath)
		}
	}
}

// TestSerial goes the way that there is without an administrator: the line is a
// serial port, of forks too.
func TestSerial(t *testing.T) {
	d, p, home := standIn(t)
	p.serial = true
	v, err := d.Launch(t.Context(), spec(t, "one"))
	if err != nil {
		t.Fatal(err)
	}
	m := v.(*machine)
	if m.socket {
		t.Error("got a Hyper-V socket, want a serial port")
	}
	for _, do := range []func(context.Context, string) error{m.Snapshot, m.Restore} {
		if err := do(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
	}
	f, err := m.Fork(t.Context(), "s", spec(t, "two"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []vm.Machine{m, f} {
		conn, err := m.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c, err := guest.Connect(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Info(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	p.nothingLeft(home)
}
