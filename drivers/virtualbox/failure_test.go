package virtualbox

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// spec asks for a small machine.
func spec(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{Name: name, Owner: "run", Dir: t.TempDir(), Image: image(t), CPUs: 1, Memory: 512 << 20}
}

// TestLaunchFails proves for each way in which VirtualBox fails that the error
// says so, and what to do, and that nothing is left.
func TestLaunchFails(t *testing.T) {
	for mode, tc := range map[string]struct {
		kind error
		says string
	}{
		"daemon":  {nil, "VBoxSVC"},
		"module":  {cli.ErrFailed, "vboxconfig"},
		"virtual": {cli.ErrVirtual, "firmware"},
		"full":    {cli.ErrNoSpace, "assay gc"},
		"lying":   {cli.ErrFailed, "Invalid RAM size"},
		"hang":    {context.Canceled, "startvm"},
		"panic":   {nil, "Kernel panic"},
		"quits":   {nil, "shut itself down"},
	} {
		t.Run(mode, func(t *testing.T) {
			d, b, home := standIn(t)
			b.host.Break(mode)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b.enough = cancel // as soon as it hangs
			s := spec(t, "m")
			_, err := d.Launch(ctx, s)
			if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v that says %q", err, tc.kind, tc.says)
			}
			if _, stat := os.Stat(s.Dir); !errors.Is(stat, fs.ErrNotExist) {
				t.Errorf("the machine's folder is left: %v", stat)
			}
			if mode == "panic" || mode == "quits" {
				if boot := (*vm.BootError)(nil); !errors.As(err, &boot) || len(boot.Console) == 0 {
					t.Errorf("got %v, want a *vm.BootError with the console", err)
				}
			}
			b.host.Break("")
			b.nothingLeft(home)
		})
	}
}

// TestProbeSays proves that Probe says what is missing and what to type.
func TestProbeSays(t *testing.T) {
	for mode, says := range map[string]string{
		"absent": "not installed", "daemon": "service", "novirtual": "virtualisation",
	} {
		t.Run(mode, func(t *testing.T) {
			d, b, _ := standIn(t)
			if mode == "absent" {
				d.manage.Places = nil // the real one may be on this machine
				b.host.Remove("VBoxManage")
			}
			b.host.Break(mode)
			_, err := d.Probe(t.Context())
			if u := (*vm.UnavailableError)(nil); !errors.As(err, &u) || !strings.Contains(u.Reason, says) || u.Fix == "" {
				t.Errorf("got %v, want a *vm.UnavailableError that says %q, and what to do", err, says)
			}
		})
	}
}

// TestRefusedBeforeAnything proves that what cannot be is said before VBoxManage
// is asked for more than its version.
func TestRefusedBeforeAnything(t *testing.T) {
	for what, edit := range map[string]func(*vm.Spec){
		"a kernel":  func(s *vm.Spec) { s.Image.Kernel = "/boot/vmlinuz" },
		"arm64":     func(s *vm.Spec) { s.Image.Arch = "arm64" },
		"some host": func(s *vm.Spec) { s.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"example.org"}} },
	} {
		d, b, _ := standIn(t)
		s := spec(t, "m")
		edit(&s)
		_, err := d.Launch(t.Context(), s)
		if u := (*vm.UnsupportedError)(nil); !errors.As(err, &u) || u.Instead == "" {
			t.Errorf("%s: got %v, want a *vm.UnsupportedError that says what to do instead", what, err)
		}
		if calls := b.host.Calls(); len(calls) > 1 {
			t.Errorf("%s: VBoxManage was called for more than its version: %q", what, calls)
		}
	}
}

// launched returns a machine that runs.
func launched(t *testing.T) (*machine, *box, string) {
	t.Helper()
	d, b, home := standIn(t)
	m, err := d.Launch(t.Context(), spec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.(*machine), b, home
}

// TestNameTaken proves that a machine is not mistaken for another of its name,
// whoever made that.
func TestNameTaken(t *testing.T) {
	m, _, _ := launched(t)
	if _, err := m.d.Launch(t.Context(), spec(t, "m")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if err := m.alive(t.Context()); err != nil {
		t.Errorf("the first machine: %v", err)
	}
}

// TestStartThatSulks proves that a start that worked is one, whatever its exit
// code.
func TestStartThatSulks(t *testing.T) {
	d, b, home := standIn(t)
	b.host.Break("sulky")
	m, err := d.Launch(t.Context(), spec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	b.nothingLeft(home)
}

// TestNotTranslated proves that errors are known by what is not translated.
func TestNotTranslated(t *testing.T) {
	d, b, _ := standIn(t)
	b.host.Break("german")
	if _, err := d.info(t.Context(), "assay-ghost"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// TestRemovedBehindOurBack proves that a machine that somebody unregistered is
// missed, and can be closed.
func TestRemovedBehindOurBack(t *testing.T) {
	m, b, _ := launched(t)
	b.find(m.id).Delete()
	_, err := m.Dial(t.Context())
	if err == nil || !strings.Contains(err.Error(), "somebody removed the machine") {
		t.Errorf("Dial: got %v, want one that says who is to blame", err)
	}
	if err := m.Snapshot(t.Context(), "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Snapshot: got %v, want fs.ErrNotExist", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestGuestGoes proves that the line says that the guest ended the machine.
func TestGuestGoes(t *testing.T) {
	m, b, _ := launched(t)
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.find(m.id).Shutdown(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if stopped := (*vm.StoppedError)(nil); !errors.As(c.Err(), &stopped) {
		t.Errorf("got %v, want a *vm.StoppedError", c.Err())
	}
}

// TestSnapshotLeavesItStanding proves that a guest that a failed snapshot left
// paused goes on.
func TestSnapshotLeavesItStanding(t *testing.T) {
	m, b, _ := launched(t)
	b.host.Break("standing")
	if err := m.Snapshot(t.Context(), "s"); err == nil {
		t.Error("a snapshot that failed is none")
	}
	b.host.Break("")
	if g := b.find(m.id); g.Paused() {
		t.Error("the guest still stands")
	}
	if err := m.Snapshot(t.Context(), "s"); err != nil {
		t.Errorf("a second try: %v", err)
	}
}

// TestForkNeedsItsParent proves that a machine's disks stay while a fork lies on
// them, even though it is closed, and go with the fork.
func TestForkNeedsItsParent(t *testing.T) {
	m, b, home := launched(t)
	if err := m.Snapshot(t.Context(), "s"); err != nil {
		t.Fatal(err)
	}
	f, err := m.Fork(t.Context(), "s", spec(t, "fork"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := m.d.place.Names()
	if err != nil || !slices.Equal(names, []string{f.ID(), m.ID()}) {
		t.Errorf("got %q, %v; want the fork and what it lies on", names, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b.nothingLeft(home)
}

// TestInfoIsNotTheGuests proves that a guest cannot say what its machine does.
func TestInfoIsNotTheGuests(t *testing.T) {
	i := parseInfo("name=\"a \\\"b\\\"\"\nVMState=\"running\"\r\n\"SATA-0-0\"=\"/x=y.vdi\"\ndescription=\"one\ntwo\\\"\nVMState=\"poweroff\"\nmemory=512\nGuestAdditionsVersion=\"7\nVMState=\"poweroff\"\"\n")
	for key, want := range map[string]string{"name": `a "b"`, "VMState": "running", "SATA-0-0": "/x=y.vdi", "memory": "512"} {
		if i[key] != want {
			t.Errorf("%s: got %q, want %q", key, i[key], want)
		}
	}
}
