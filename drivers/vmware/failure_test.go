package vmware

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

// TestLaunchFails proves for each way in which VMware fails that the error says
// so, and what to do, and that nothing is left.
func TestLaunchFails(t *testing.T) {
	for mode, tc := range map[string]struct {
		kind error
		says string
	}{
		"daemon":   {nil, "start VMware once by hand"},
		"virtual":  {cli.ErrVirtual, "firmware"},
		"full":     {cli.ErrNoSpace, "assay gc"},
		"lying":    {cli.ErrFailed, "One of the parameters was invalid"},
		"canceled": {cli.ErrFailed, "vmware.log"},
		"hang":     {context.Canceled, "vmrun"},
		"panic":    {nil, "Kernel panic"},
		"quits":    {nil, "shut itself down"},
	} {
		t.Run(mode, func(t *testing.T) {
			d, s, home := standIn(t, "ws")
			s.host.Break(mode)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.enough = cancel // as soon as it hangs
			sp := spec(t, "m")
			_, err := d.Launch(ctx, sp)
			if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v that says %q", err, tc.kind, tc.says)
			}
			if _, stat := os.Stat(sp.Dir); !errors.Is(stat, fs.ErrNotExist) {
				t.Errorf("the machine's folder is left: %v", stat)
			}
			if mode == "panic" || mode == "quits" {
				if boot := (*vm.BootError)(nil); !errors.As(err, &boot) || len(boot.Console) == 0 {
					t.Errorf("got %v, want a *vm.BootError with the console", err)
				}
			}
			s.nothingLeft(home)
		})
	}
}

// TestProbeSays proves that Probe says what is missing and what to type.
func TestProbeSays(t *testing.T) {
	for mode, says := range map[string]string{"absent": "not installed", "daemon": "service"} {
		t.Run(mode, func(t *testing.T) {
			d, s, _ := standIn(t, "ws")
			if mode == "absent" {
				s.host.Remove("vmrun")
			}
			s.host.Break(mode)
			_, err := d.Probe(t.Context())
			if u := (*vm.UnavailableError)(nil); !errors.As(err, &u) || !strings.Contains(u.Reason, says) || u.Fix == "" {
				t.Errorf("got %v, want a *vm.UnavailableError that says %q, and what to do", err, says)
			}
			if n, err := d.Sweep(t.Context(), "run"); mode == "absent" && (n != 0 || err != nil) {
				t.Errorf("Sweep without VMware: got %d, %v; want 0", n, err)
			}
		})
	}
}

// TestRefusedBeforeAnything proves that what cannot be is said before vmrun is
// asked for more than what it is.
func TestRefusedBeforeAnything(t *testing.T) {
	for what, edit := range map[string]func(*vm.Spec){
		"a kernel":  func(s *vm.Spec) { s.Image.Kernel = "/boot/vmlinuz" },
		"arm64":     func(s *vm.Spec) { s.Image.Arch = "arm64" },
		"some host": func(s *vm.Spec) { s.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"example.org"}} },
	} {
		d, s, _ := standIn(t, "ws")
		sp := spec(t, "m")
		edit(&sp)
		_, err := d.Launch(t.Context(), sp)
		if u := (*vm.UnsupportedError)(nil); !errors.As(err, &u) || u.Instead == "" {
			t.Errorf("%s: got %v, want a *vm.UnsupportedError that says what to do instead", what, err)
		}
		if calls := s.host.Calls(); len(calls) > 2 {
			t.Errorf("%s: vmrun was called for more than what it is: %q", what, calls)
		}
	}
}

// launched returns a machine that runs.
func launched(t *testing.T, network vm.NetworkMode) (*machine, *studio, string) {
	t.Helper()
	d, s, home := standIn(t, "ws")
	sp := spec(t, "m")
	sp.Network.Mode = network
	m, err := d.Launch(t.Context(), sp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m.(*machine), s, home
}

// TestNameTaken proves that a machine is not mistaken for another of its name.
func TestNameTaken(t *testing.T) {
	m, _, _ := launched(t, vm.NetworkNone)
	if _, err := m.d.Launch(t.Context(), spec(t, "m")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if err := m.alive(t.Context()); err != nil {
		t.Errorf("the first machine: %v", err)
	}
}

// TestCable proves that a machine without a network gets none by having its cable
// plugged in, and that one with a network obeys.
func TestCable(t *testing.T) {
	for mode, want := range map[vm.NetworkMode]bool{vm.NetworkNone: false, vm.NetworkOpen: true} {
		m, s, _ := launched(t, mode)
		g := s.host.Guest(m.vmx)
		if g.Link() != want {
			t.Errorf("%s: the cable is in: %v, want %v", mode, g.Link(), want)
		}
		for _, up := range []bool{false, true} {
			if err := m.SetLink(t.Context(), up); err != nil {
				t.Fatal(err)
			}
			if g.Link() != (up && want) {
				t.Errorf("%s: SetLink(%v): the cable is in: %v", mode, up, g.Link())
			}
		}
		m.Close()
	}
}

// TestScreenshotNeedsTools proves that a guest without VMware's tools is known.
func TestScreenshotNeedsTools(t *testing.T) {
	m, s, _ := launched(t, vm.NetworkNone)
	s.host.Break("tools")
	_, err := m.Screenshot(t.Context())
	if !errors.Is(err, cli.ErrNoTools) || !strings.Contains(err.Error(), "open-vm-tools") {
		t.Errorf("got %v, want ErrNoTools and what to install", err)
	}
	if strings.Contains(err.Error(), m.password) {
		t.Errorf("the error tells the guest's password: %v", err)
	}
}

// TestOpenInAWindow proves that a machine that VMware will not delete goes all
// the same, once it is off.
func TestOpenInAWindow(t *testing.T) {
	m, s, home := launched(t, vm.NetworkNone)
	s.host.Break("open")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	s.nothingLeft(home)
}

// TestDeletedBehindOurBack proves that a machine that somebody deleted is missed,
// and can be closed.
func TestDeletedBehindOurBack(t *testing.T) {
	m, s, home := launched(t, vm.NetworkNone)
	s.host.Guest(m.vmx).Delete()
	if err := os.Remove(m.vmx); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody deleted the machine") {
		t.Errorf("Dial: got %v, want one that says who is to blame", err)
	}
	if err := m.Snapshot(t.Context(), "s"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Snapshot: got %v, want fs.ErrNotExist", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	s.nothingLeft(home)
}

// TestGuestGoes proves that the line says that the guest ended the machine.
func TestGuestGoes(t *testing.T) {
	m, s, _ := launched(t, vm.NetworkNone)
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.host.Guest(m.vmx).Shutdown(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if stopped := (*vm.StoppedError)(nil); !errors.As(c.Err(), &stopped) {
		t.Errorf("got %v, want a *vm.StoppedError", c.Err())
	}
}

// TestPlayer proves that VMware Player's machines run, on copies of the disk, and
// that they do not claim the snapshots that it has not.
func TestPlayer(t *testing.T) {
	d, s, home := standIn(t, "player")
	info, err := d.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, err := d.Launch(t.Context(), spec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	if has := vm.Of(m); !slices.Equal(has, info.Capabilities) || slices.Contains(has, vm.CapSnapshot) {
		t.Errorf("claims %v, has %v; want the same, and no snapshots", info.Capabilities, has)
	}
	_, err = vm.As[vm.Snapshotter](m)
	if u := (*vm.UnsupportedError)(nil); !errors.As(err, &u) || u.Instead == "" {
		t.Errorf("got %v, want a *vm.UnsupportedError that says what to do instead", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	s.nothingLeft(home)
}
