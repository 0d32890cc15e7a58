package utm

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
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
	if testing.Short() {
		t.Skip("TestSuite runs the same rows on the other kind of machine")
	}
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
		for _, file := range []string{cli.AgentPath, "/run/systemd/system/" + filepath.Base(seed.UnitPath)} {
			if _, err := g.Read(file); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: got %v, want it gone", file, err)
			}
		}
		if users, err := g.Read("/etc/passwd"); err != nil || bytes.Contains(users, []byte("tester")) {
			t.Errorf("the users: got %q, %v, want no tester", users, err)
		}
	}
}

// TestAdoptAndSave proves that an adopted machine is as it was, though it was
// saved meanwhile, and though its guest switched itself off.
func TestAdoptAndSave(t *testing.T) {
	d, p := onMac(t, "5.0.6")
	for what, do := range map[string]func(vm.Machine, string) error{
		"saved": func(m vm.Machine, _ string) error { return m.(vm.Snapshotter).Snapshot(t.Context(), "a") },
		"held":  func(m vm.Machine, _ string) error { return m.(vm.Suspender).Suspend(t.Context()) },
		"off":   func(_ vm.Machine, name string) error { return p.host.Guest(name).Shutdown() },
	} {
		t.Run(what, func(t *testing.T) {
			name, check := p.existing(t)
			m, err := d.Adopt(t.Context(), name, vm.Spec{Name: "one", Owner: "o", Dir: t.TempDir()})
			must(t, err)
			must(t, do(m, name))
			must(t, m.Close())
			check()
		})
	}
}

// TestGuestEnds proves that a line that broke says that the guest is the cause.
func TestGuestEnds(t *testing.T) {
	d, p := onMac(t, "5.0.6")
	m, err := d.Launch(t.Context(), ask(t, "one"))
	must(t, err)
	conn, err := m.Dial(t.Context())
	must(t, err)
	defer conn.Close()
	must(t, p.host.Guest(m.(*machine).name).Shutdown())
	_, err = io.ReadAll(conn)
	if stopped := (*vm.StoppedError)(nil); !errors.As(err, &stopped) {
		t.Errorf("got %v, want a *vm.StoppedError", err)
	}
	must(t, m.Close())
}
