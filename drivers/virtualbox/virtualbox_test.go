package virtualbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

func TestMain(m *testing.M) { standin.Main(m) }

// image returns a disk that boots itself, as far as anybody here looks.
func image(t *testing.T) vm.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	data := make([]byte, 1<<20)
	data[510], data[511] = 0x55, 0xAA
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Image{
		Name: "debian-12", OS: "debian", Version: "12", Arch: "amd64", Disk: path, Format: "raw", Size: int64(len(data)),
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)),
	}
}

// standIn returns a driver on a stand-in for VirtualBox, and the state folder.
func standIn(t *testing.T) (*driver, *box, string) {
	t.Helper()
	home := t.TempDir()
	b := newBox(t)
	d := New(cli.Config{Home: home, Agents: standin.AgentProgram}).(*driver)
	return d, b, home
}

// TestStandIn runs the whole suite through VBoxManage's stand-in.
func TestStandIn(t *testing.T) {
	d, b, home := standIn(t)
	drivertest.Run(t, drivertest.Config{Driver: d, Image: image(t), Ring: drivertest.StandIn, Existing: b.existing})
	b.nothingLeft(home)
}

// existing makes a machine of the user's, which is off and has Guest Additions.
func (b *box) existing(t testing.TB) (string, func()) {
	g, err := b.host.Create("Jane's Debian", standin.Size{})
	if err == nil {
		err = g.AddUser("jane", true)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Delete)
	b.mu.Lock()
	set(g, "uuid", b.uuid())
	b.mu.Unlock()
	set(g, "password", "jane's secret")
	t.Setenv("ASSAY_GUEST_USER", "jane")
	t.Setenv("ASSAY_GUEST_PASSWORD", "jane's secret")
	return g.Name(), func() { b.untouched(t, g) }
}

// untouched fails unless a machine is as it was made.
func (b *box) untouched(t testing.TB, g *standin.Guest) {
	t.Helper()
	if s := vmState(g); s != "poweroff" {
		t.Errorf("the user's machine is %s, want poweroff", s)
	}
	if port := get[[]string](g, "--uartmode2"); port != nil {
		t.Errorf("its second serial port is %q, want none", port)
	}
	if !g.Link() {
		t.Error("its network cable is out")
	}
	if left := g.Snapshots(); len(left) > 0 {
		t.Errorf("it has the snapshots %v, want none", left)
	}
	if _, err := g.Read(cli.AgentPath); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the agent is still in it (%v)", err)
	}
	if users, err := g.Read("/etc/passwd"); err != nil || strings.Contains(string(users), "tester") {
		t.Errorf("the test user is still in it: %s, %v", users, err)
	}
}
