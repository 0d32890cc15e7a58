package utm

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/seed"
	"assay/vm"
)

// TestSuite runs the suite on cloud images, in the version that has snapshots.
func TestSuite(t *testing.T) {
	d, p := onMac(t, "5.0.6")
	drivertest.Run(t, drivertest.Config{Driver: d, Ring: drivertest.StandIn, Image: cloudImage(t), Existing: p.existing})
}

// TestSuiteOnTemplate runs it on clones of a user's virtual machine, in a version
// that has none.
func TestSuiteOnTemplate(t *testing.T) {
	d, p := onMac(t, "4.6.5")
	p.have("Debian 13")
	drivertest.Run(t, drivertest.Config{Driver: d, Ring: drivertest.StandIn, Image: vm.Image{Name: "template:Debian 13"}, Existing: p.existing})
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

// existing makes a machine of the user's.
func (p *player) existing(t testing.TB) (string, func()) {
	t.Helper()
	name := "mine " + rand.Text()[:6]
	g := p.have(name)
	before := p.inspect(name)
	return name, func() {
		t.Helper()
		after := p.inspect(name)
		if after.State != before.State || !slices.Equal(after.Extra, before.Extra) || after.Memory != before.Memory || after.Network != before.Network {
			t.Errorf("the machine is %+v, want it as before: %+v", after, before)
		}
		if snapshots := g.Snapshots(); len(snapshots) > 0 {
			t.Errorf("the machine has the snapshots %v, want none", snapshots)
		}
		for _, file := range []string{cli.AgentPath, seed.UnitPath} {
			if _, err := g.Read(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: got %v, want it gone", file, err)
			}
		}
		if users, err := g.Read("/etc/passwd"); err != nil || bytes.Contains(users, []byte("tester")) {
			t.Errorf("the users: got %q, %v, want no tester", users, err)
		}
	}
}
