package vmware

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// standIn returns a driver on a stand-in for VMware, and the state folder.
func standIn(t *testing.T, kind string) (*driver, *studio, string) {
	t.Helper()
	home := t.TempDir()
	s := newStudio(t, kind)
	return New(cli.Config{Home: home, Agents: standin.AgentProgram}).(*driver), s, home
}

// TestStandIn runs the whole suite through vmrun's stand-in.
func TestStandIn(t *testing.T) {
	d, s, home := standIn(t, "ws")
	drivertest.Run(t, drivertest.Config{Driver: d, Image: image(t), Ring: drivertest.StandIn, Existing: s.existing})
	s.nothingLeft(home)
}

// existing makes a machine of the user's, which is off and has VMware Tools.
func (s *studio) existing(t testing.TB) (string, func()) {
	vmx := filepath.Join(t.TempDir(), "Jane's Debian.vmx")
	before := config(nil).with(".encoding", "UTF-8", "displayName", "Jane's Debian", "scsi0:0.fileName", "jane.vmdk", "odd.key", "kept")
	if err := before.write(vmx); err != nil {
		t.Fatal(err)
	}
	g := s.guest(vmx)
	t.Cleanup(g.Delete)
	if err := g.AddUser("jane", true); err != nil {
		t.Fatal(err)
	}
	set(g, "password", "jane's secret")
	t.Setenv("ASSAY_GUEST_USER", "jane")
	t.Setenv("ASSAY_GUEST_PASSWORD", "jane's secret")
	return vmx, func() { s.untouched(t, g, before) }
}

// untouched fails unless a machine is as it was made.
func (s *studio) untouched(t testing.TB, g *standin.Guest, before config) {
	t.Helper()
	if g.Running() {
		t.Error("the user's machine runs, want it off")
	}
	if now, err := readConfig(g.Name()); err != nil || !slices.Equal(now, before) {
		t.Errorf("its description is %q, %v; want %q", now, err, before)
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
