package lima

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// TestConformance runs the suite on a Lima with QEMU.
func TestConformance(t *testing.T) { conforms(t, typeQEMU) }

// TestConformanceVZ runs it on one with Apple's virtualisation.
func TestConformanceVZ(t *testing.T) { conforms(t, typeVZ) }

func conforms(t *testing.T, kind string) {
	p := newPlayer(t, "2.2.0", kind)
	drivertest.Run(t, drivertest.Config{
		Driver: p.driver(), Image: debian, Ring: drivertest.StandIn,
		Existing: func(t testing.TB) (string, func()) { return p.existing(t, "Running") },
	})
}

// TestConformanceReal runs the suite on the Lima of this computer, if there is
// one. ASSAY_LIMA_IMAGE names the image, which is a template of Lima's otherwise.
func TestConformanceReal(t *testing.T) {
	if testing.Short() {
		t.Skip("it downloads an image")
	}
	img := debian
	if path := os.Getenv("ASSAY_LIMA_IMAGE"); path != "" {
		img = vm.Image{Name: filepath.Base(path), Disk: path, Format: "qcow2", Arch: runtime.GOARCH, Digest: "file:" + path}
	}
	d := New(cli.Config{Home: t.TempDir(), Agents: realAgent})
	drivertest.Run(t, drivertest.Config{
		Driver: d, Image: img, Memory: 1 << 30, Timeout: 20 * time.Minute,
		Existing: func(t testing.TB) (string, func()) { return realMachine(t, d.(*driver), img) },
	})
}

// realAgent returns the agent that "make agent" has built.
func realAgent(arch string) ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "..", "cmd", "assay", "agent", "assay-agent-"+arch))
}

// realMachine makes a machine as a user would, and leaves it off.
func realMachine(t testing.TB, d *driver, img vm.Image) (string, func()) {
	const id = "assay-test-existing"
	h, err := d.host(t.Context())
	if err == nil {
		err = d.create(t.Context(), id, h, vm.Spec{Image: img, CPUs: 1, Memory: 1 << 30})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.destroy(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	return id, func() {
		if err := d.in(context.Background(), id, stateStopped); err != nil {
			t.Error(err)
		}
	}
}

// debian is an image of Lima's own.
var debian = vm.Image{Name: "template:debian-12", OS: "debian", Version: "12", Arch: "amd64", Digest: "lima:debian-12"}

// existing makes a user's instance in that state, and returns how to check that
// it is as it was.
func (p *player) existing(t testing.TB, in string) (string, func()) {
	t.Helper()
	g, err := p.host.Create("my.own", standin.Size{})
	if err == nil {
		err = errors.Join(p.furnish(g, p.types[0]), p.boot(g))
	}
	if err == nil && in == "Stopped" {
		err = g.Kill()
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
	return vm.Spec{Name: name, Owner: "test", Dir: filepath.Join(t.TempDir(), name), Image: debian, CPUs: 1, Memory: 512 << 20}
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

// TestAdoptGivesBackWhatItFound proves it for each state, with a cable that was
// pulled, and with snapshots where going back does not replace the machine.
func TestAdoptGivesBackWhatItFound(t *testing.T) {
	for _, kind := range []string{typeQEMU, typeVZ} {
		for _, in := range []string{"Running", "Stopped"} {
			t.Run(kind+in, func(t *testing.T) {
				p := newPlayer(t, "2.2.0", kind)
				id, check := p.existing(t, in)
				m, err := p.driver().(vm.Adopter).Adopt(t.Context(), id, spec(t, "mine"))
				if err != nil {
					t.Fatal(err)
				}
				s, err := vm.As[vm.Snapshotter](m)
				if (err == nil) != (kind == typeQEMU) {
					t.Errorf("snapshots: got %v", err)
				}
				if err == nil {
					err = errors.Join(s.Snapshot(t.Context(), "a"), s.Restore(t.Context(), "a"))
					if err != nil {
						t.Error(err)
					}
				}
				if err := m.(vm.Networker).SetLink(t.Context(), false); err != nil {
					t.Error(err)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
				check()
			})
		}
	}
}

// TestSweepLeavesTheUsersMachine proves that a dead run's snapshot of a machine
// that it had adopted is removed, and the machine is not.
func TestSweepLeavesTheUsersMachine(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	id, _ := p.existing(t, "Running")
	m, err := p.driver().(vm.Adopter).Adopt(t.Context(), id, spec(t, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.(vm.Snapshotter).Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.driver().Sweep(t.Context(), "nobody"); n != 0 || err != nil || len(p.host.Guest(id).Snapshots()) != 1 {
		t.Errorf("a stranger's sweep: got %d, %v, want nothing done", n, err)
	}
	if n, err := p.driver().Sweep(t.Context(), "test"); n != 0 || err != nil {
		t.Errorf("got %d, %v, want no machine", n, err)
	}
	if g := p.host.Guest(id); g == nil || len(g.Snapshots()) != 0 {
		t.Errorf("got %v, want the user's machine, without a snapshot", g)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestSweepFindsCopies proves that the copies that snapshots are without QEMU go
// with their machine's owner.
func TestSweepFindsCopies(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeVZ)
	m := launch(t, p.driver(), spec(t, "m"))
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if n, err := p.driver().Sweep(t.Context(), "test"); n != 1 || err != nil || len(p.host.Guests()) != 0 {
		t.Errorf("got %d, %v, %d instances left; want the machine, and nothing left", n, err, len(p.host.Guests()))
	}
}

// TestVersionsAndTypes proves that what is lacking is known before anything is
// launched, with a way out, and that each version gets its own arguments.
func TestVersionsAndTypes(t *testing.T) {
	base := []vm.Capability{vm.CapConsole, vm.CapNetwork, vm.CapUsage}
	for _, c := range []struct {
		version, kind string
		want          []vm.Capability
	}{
		{"1.0.7", typeQEMU, append([]vm.Capability{vm.CapSnapshot, vm.CapMemory}, base...)},
		{"1.1.1", typeVZ, base},
		{"1.2.1", typeVZ, append([]vm.Capability{vm.CapSnapshot, vm.CapFork}, base...)},
		{"2.0.0", typeQEMU, append([]vm.Capability{vm.CapSnapshot, vm.CapMemory}, base...)},
	} {
		t.Run(c.version+" "+c.kind, func(t *testing.T) {
			p := newPlayer(t, c.version, c.kind)
			d := p.driver()
			info, err := d.Probe(t.Context())
			if err != nil || !slices.Equal(info.Capabilities, c.want) || info.Version != "Lima "+c.version {
				t.Errorf("got %+v, %v, want %v", info, err, c.want)
			}
			m := launch(t, d, spec(t, "m"))
			if got := vm.Of(m); !slices.Equal(got, c.want) {
				t.Errorf("the machine has %v, want %v", got, c.want)
			}
			for _, capability := range []vm.Capability{vm.CapSnapshot, vm.CapMemory, vm.CapFork} {
				if instead, lacks := m.Lacks(capability); lacks == slices.Contains(c.want, capability) || lacks && instead == "" {
					t.Errorf("%s: lacks %v, %q", capability, lacks, instead)
				}
			}
			if !slices.Contains(c.want, vm.CapSnapshot) {
				return
			}
			if err := errors.Join(m.Snapshot(t.Context(), "a"), m.Restore(t.Context(), "a")); err != nil {
				t.Error(err)
			}
			conn, err := m.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}

// TestNoNetwork proves who keeps a guest from the network: QEMU from its start,
// else a firewall, and that the cable is another matter.
func TestNoNetwork(t *testing.T) {
	for _, kind := range []string{typeQEMU, typeVZ} {
		for _, mode := range []vm.NetworkMode{vm.NetworkNone, vm.NetworkOpen} {
			t.Run(kind+string(mode), func(t *testing.T) {
				p := newPlayer(t, "2.2.0", kind)
				s := spec(t, "m")
				s.Network.Mode = mode
				m := launch(t, p.driver(), s)
				g := p.host.Guest(m.id)
				byHost, inGuest := mode == vm.NetworkNone && kind == typeQEMU, mode == vm.NetworkNone && kind == typeVZ
				check := func(what string, inGuest bool) {
					t.Helper()
					if g = p.host.Guest(m.id); g.Attr["restrict"] != byHost {
						t.Errorf("%s: restricted by QEMU: got %v, want %v", what, g.Attr["restrict"], byHost)
					}
					rules, _ := g.Read("/run/ip-rules")
					if got := strings.Contains(string(rules), "-4 pref 11 prohibit"); got != inGuest {
						t.Errorf("%s: a firewall in the guest: got %v, want %v", what, got, inGuest)
					}
				}
				check("launch", inGuest)
				if err := errors.Join(m.SetLink(t.Context(), false), m.Snapshot(t.Context(), "a")); err != nil {
					t.Fatal(err)
				}
				check("cable pulled", true)
				if err := m.SetLink(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				check("cable plugged in", inGuest)
				if err := m.Restore(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				check("restored", inGuest)
			})
		}
	}
}

// TestQEMU proves what our QEMU makes of Lima's arguments, the others untouched.
func TestQEMU(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Lima starts no QEMU here")
	}
	dir := t.TempDir()
	ours, real := filepath.Join(dir, "deep", "qemu"), filepath.Join(dir, "real")
	if err := errors.Join(install(ours, qemuScript), install(ours, qemuScript)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(real, []byte("#!/bin/sh\nprintf '%s\\n' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-netdev", "user,id=net0,net=192.168.5.0/24,dhcpstart=192.168.5.15,hostfwd=tcp:127.0.0.1:60022-:22", "-name", "user,a b", "", "-device", "virtio-net-pci,netdev=net0", "-machine", "help"}
	for _, restrict := range []string{"on", "off"} {
		cmd := exec.Command(ours, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ASSAY_LIMA_QEMU=" + real, "ASSAY_LIMA_RESTRICT=" + restrict}
		out, err := cmd.CombinedOutput()
		want := slices.Clone(args)
		if restrict == "on" {
			want[1] += ",restrict=on"
		}
		if err != nil || string(out) != strings.Join(want, "\n")+"\n" {
			t.Errorf("restrict %s: got %q, %v, want %q", restrict, out, err, want)
		}
	}
}

// TestImageFromAFile proves that a cloud image from a file is launched, with a
// disk of its own size.
func TestImageFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b.qcow2")
	if err := os.WriteFile(path, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, "2.2.0", typeQEMU)
	s := spec(t, "m")
	s.Image = vm.Image{Name: "mine", Disk: path, Format: "qcow2", Size: 3 << 29}
	m := launch(t, p.driver(), s)
	if got := p.host.Guest(m.id).Size().Disk; got != 3<<29 {
		t.Errorf("got a disk of %d bytes, want the image's", got)
	}
}

func TestImage(t *testing.T) {
	d := New(cli.Config{}).(vm.Catalog)
	for name, want := range map[string][3]string{
		"template:debian-12":                {"template:debian-12", "debian", "12"},
		"template://ubuntu-24.04":           {"template:ubuntu-24.04", "ubuntu", "24.04"},
		"template:experimental/opensuse-15": {"template:experimental/opensuse-15", "experimental/opensuse", "15"},
	} {
		img, err := d.Image(t.Context(), name)
		if err != nil || [3]string{img.Name, img.OS, img.Version} != want || img.Digest == "" || img.Disk != "" {
			t.Errorf("%s: got %+v, %v, want %v", name, img, err, want)
		}
	}
	for _, name := range []string{"debian-12", "22.04", "", "template:", "template:../x", "template:a;b", "template:-x", "https://example.org/x.yaml"} {
		if img, err := d.Image(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got %+v, %v, want fs.ErrNotExist", name, img, err)
		}
	}
}
