package incus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// TestStandIn runs the suite against either client, each with one of the kinds of
// machines.
func TestStandIn(t *testing.T) {
	for tool, kind := range map[string]string{"incus": typeVM, "lxc": typeContainer} {
		t.Run(tool, func(t *testing.T) {
			p := newPlayer(t, tool, kind)
			drivertest.Run(t, drivertest.Config{
				Driver: p.driver(t), Ring: drivertest.StandIn, Image: vm.Image{Name: "images:debian/12"}, Existing: p.existing,
			})
		})
	}
}

// existing makes an instance as "incus launch" does.
func (p *player) existing(t testing.TB) (name string, check func()) {
	g, err := p.host.Create("mine", standin.Size{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Delete)
	g.Lock()
	g.Attr["profiles"] = []string{"default"}
	g.Unlock()
	return "mine", g.Untouched(t)
}

func standInSpec(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{Name: name, Owner: "test", Dir: t.TempDir(), Image: vm.Image{Name: "images:debian/12"}, CPUs: 1, Memory: 512 << 20}
}

// TestProbeSaysWhy proves that each reason for which there are no machines is
// named, with the command that mends it.
func TestProbeSaysWhy(t *testing.T) {
	for _, tt := range []struct {
		tool, mode, want, fix string
		kind                  error
	}{
		{"incus", "remove", "not installed", "apt-get install incus-base", cli.ErrNotInstalled},
		{"incus", "daemon", "service does not run", cli.StartService("incus"), cli.ErrDaemon},
		{"lxc", "daemon", "service does not run", cli.StartService("lxd"), cli.ErrDaemon},
		{"incus", "permission", "permission denied", "usermod -aG incus-admin $USER, and log in again", fs.ErrPermission},
	} {
		t.Run(tt.tool+" "+tt.mode, func(t *testing.T) {
			p := newPlayer(t, tt.tool, typeContainer)
			p.host.Break(tt.mode)
			if tt.mode == "remove" {
				p.host.Remove(tt.tool)
			}
			_, err := p.driver(t).Probe(t.Context())
			var u *vm.UnavailableError
			if !errors.As(err, &u) || !errors.Is(err, tt.kind) || !strings.Contains(u.Reason, tt.want) || u.Fix != tt.fix {
				t.Errorf("got %v, want %v: %q and %q", err, tt.kind, tt.want, tt.fix)
			}
			n, err := p.driver(t).Sweep(t.Context(), "test")
			if n != 0 || (err != nil) != (tt.mode == "daemon") {
				t.Errorf("Sweep: got %d, %v; want an error if somebody's machines may run", n, err)
			}
		})
	}
}

// TestTypeIsChosen proves that the user chooses what machines are, and that a
// server that cannot says so.
func TestTypeIsChosen(t *testing.T) {
	p := newPlayer(t, "incus", typeVM)
	t.Setenv(typeEnv, typeContainer)
	info, err := p.driver(t).Probe(t.Context())
	if err != nil || info.Version != "Incus 6.0.4, containers" || !strings.Contains(info.Detail, "share the host's kernel") {
		t.Errorf("got %+v, %v; want containers, and what that means", info, err)
	}
	p = newPlayer(t, "incus", typeContainer)
	for value, want := range map[string]string{typeVM: "runs no virtual machines", "jail": "want container or virtual-machine"} {
		t.Setenv(typeEnv, value)
		if _, err := p.driver(t).Probe(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", value, err, want)
		}
	}
}

// TestLaunchThatFails proves that each failure is what it is, and leaves nothing.
func TestLaunchThatFails(t *testing.T) {
	for mode, want := range map[string]error{
		"full": cli.ErrNoSpace, "german": cli.ErrFailed, "lying": fs.ErrNotExist,
	} {
		t.Run(mode, func(t *testing.T) {
			p := newPlayer(t, "incus", typeContainer)
			p.host.Break(mode)
			if _, err := p.driver(t).Launch(t.Context(), standInSpec(t, "m")); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if got := p.host.Guests(); len(got) > 0 {
				t.Errorf("got %d instances, want none left", len(got))
			}
		})
	}
}

// TestGuestThatDoesNotCome proves that a guest's failure is told from a server's.
func TestGuestThatDoesNotCome(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	p.host.Break("init")
	_, err := p.driver(t).Launch(t.Context(), standInSpec(t, "m"))
	var boot *vm.BootError
	if !errors.As(err, &boot) || !strings.Contains(err.Error(), "first program is not there") {
		t.Errorf("got %v, want a *vm.BootError with the log's words", err)
	}
	p = newPlayer(t, "incus", typeVM)
	p.host.Break("tools")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p.refused = func(times int) {
		if times == 3 {
			cancel()
		}
	}
	_, err = p.driver(t).Launch(ctx, standInSpec(t, "m"))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cli.ErrNoTools) {
		t.Errorf("got %v, want the end of the context, and that the guest's agent did not answer", err)
	}
}

func TestNameTaken(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	d := p.driver(t)
	m, err := d.Launch(t.Context(), standInSpec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if _, err := d.Launch(t.Context(), standInSpec(t, "m")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a launch: got %v, want fs.ErrExist", err)
	}
	s := m.(vm.Snapshotter)
	if err := s.Snapshot(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.(vm.Forker).Fork(t.Context(), "s", standInSpec(t, "m")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a fork: got %v, want fs.ErrExist", err)
	}
	if got := p.host.Guests(); len(got) != 1 || !got[0].Running() {
		t.Error("the one who has the name lost its machine")
	}
}

// TestServerGoesOn proves that an instance that the server makes after its
// caller has given up is destroyed.
func TestServerGoesOn(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	p.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	spec := standInSpec(t, "m")
	spec.Progress = func(string) {
		time.AfterFunc(50*time.Millisecond, cancel)
		time.AfterFunc(200*time.Millisecond, func() { close(p.hold) })
	}
	if _, err := p.driver(t).Launch(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := p.host.Guests(); len(got) > 0 {
		t.Errorf("got %d instances, want none", len(got))
	}
}

// TestSnapshotThatFails proves that a machine is what it was after a snapshot that
// failed, and that the name is free.
func TestSnapshotThatFails(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	m, err := p.driver(t).Launch(t.Context(), standInSpec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	s := m.(vm.Snapshotter)
	p.host.Break("full")
	if err := s.Snapshot(t.Context(), "a"); !errors.Is(err, cli.ErrNoSpace) {
		t.Errorf("got %v, want cli.ErrNoSpace", err)
	}
	p.host.Break("")
	if err := s.Restore(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the snapshot that failed: got %v, want fs.ErrNotExist", err)
	}
	if err := s.Snapshot(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// TestCallThatHangs proves that the caller's patience is what counts.
func TestCallThatHangs(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	p.host.Break("hang")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.driver(t).Probe(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
}

// TestImagesOfVirtualMachines proves that an image that no virtual machine of
// Incus can boot is refused before anything starts.
func TestImagesOfVirtualMachines(t *testing.T) {
	p := newPlayer(t, "incus", typeVM)
	d, spec := p.driver(t), standInSpec(t, "m")
	spec.Image = vm.Image{Name: "debian-12", Disk: "disk.qcow2", Format: "qcow2"}
	_, err := d.Launch(t.Context(), spec)
	var u *vm.UnsupportedError
	if !errors.As(err, &u) || !strings.Contains(u.Instead, "images:debian/12") {
		t.Errorf("got %v, want a *vm.UnsupportedError that names what works", err)
	}
	spec.Image = vm.Image{Name: "mine:debian/12"}
	if _, err := d.Launch(t.Context(), spec); !errors.As(err, &u) || !strings.Contains(u.Instead, "incus image copy mine:debian/12") {
		t.Errorf("a private remote: got %v, want a *vm.UnsupportedError that says what to type", err)
	}
	for _, call := range p.host.Calls() {
		if strings.Contains(strings.Join(call, " "), "-X POST") {
			t.Errorf("got the call %q, want nothing started", call)
		}
	}
}

// TestNamesOfImages proves what names can be Incus' own.
func TestNamesOfImages(t *testing.T) {
	d := New(cli.Config{}).(vm.Catalog)
	for name, want := range map[string]vm.Image{
		"images:debian/12":       {Name: "images:debian/12", OS: "debian", Version: "12"},
		"images:debian/12/cloud": {Name: "images:debian/12/cloud", OS: "debian", Version: "12"},
		"ubuntu:24.04":           {Name: "ubuntu:24.04", OS: "ubuntu", Version: "24.04"},
		"local:mine":             {Name: "local:mine"},
	} {
		if got, err := d.Image(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, name := range []string{"debian-12", "", ":x", "images:", "images:-x", "Images:debian/12", "a b:c", "images:x y", "--help:x"} {
		if _, err := d.Image(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: got %v, want fs.ErrNotExist", name, err)
		}
	}
}

// TestSweepTakesNoFolderOfOthers proves that the folder that a server names is
// removed only if it can be the machine's.
func TestSweepTakesNoFolderOfOthers(t *testing.T) {
	p := newPlayer(t, "incus", typeContainer)
	d := p.driver(t)
	if _, err := d.Launch(t.Context(), standInSpec(t, "m")); err != nil {
		t.Fatal(err)
	}
	precious := t.TempDir()
	g := p.host.Guests()[0]
	g.Lock()
	g.Attr["config"] = map[string]string{dirKey: precious}
	g.Unlock()
	if n, err := d.Sweep(t.Context(), "test"); n != 1 || err != nil {
		t.Errorf("got %d, %v; want 1", n, err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("a folder that is not the machine's: %v", err)
	}
}
