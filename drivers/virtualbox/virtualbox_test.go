package virtualbox

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
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
	drivertest.Run(t, drivertest.Config{Driver: d, Image: image(t), Ring: drivertest.StandIn})
	b.nothingLeft(home)
}
