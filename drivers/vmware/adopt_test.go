package vmware

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// theirs returns a machine of the user's, and what checks that it is untouched.
func theirs(t *testing.T) (*driver, *studio, string, func()) {
	t.Helper()
	d, s, _ := standIn(t, "ws")
	vmx, check := s.existing(t)
	return d, s, vmx, check
}

// TestAdoptedGoesBack proves that snapshots and a guest that stands still are
// nothing that the user finds later.
func TestAdoptedGoesBack(t *testing.T) {
	d, s, vmx, _ := theirs(t)
	v, err := d.Adopt(t.Context(), vmx, spec(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	m := v.(*machine)
	if err := m.Snapshot(t.Context(), "clean"); err != nil {
		t.Errorf("snapshot: %v", err)
	}
	if err := m.Restore(t.Context(), "clean"); err != nil {
		t.Errorf("restore: %v", err)
	}
	if err := m.Suspend(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	g := s.host.Guest(vmx)
	c, err := readConfig(vmx)
	if err != nil || c.get("odd.key") != "kept" || c.get("serial1.present") != "" {
		t.Errorf("the description is %q, %v; want the user's own", c, err)
	}
	if _, err := g.Read(cli.AgentPath); !errors.Is(err, fs.ErrNotExist) || g.Running() || len(g.Snapshots()) > 0 {
		t.Errorf("the machine runs (%v), has the agent (%v) or the snapshots %v", g.Running(), err, g.Snapshots())
	}
}

// TestAdoptRefuses proves that what cannot be adopted is said, and stays as it is.
func TestAdoptRefuses(t *testing.T) {
	for what, tc := range map[string]struct {
		spoil func(*testing.T, *studio, *standin.Guest)
		says  string
	}{
		"running": {func(t *testing.T, _ *studio, g *standin.Guest) {
			if err := g.Start(); err != nil {
				t.Fatal(err)
			}
		}, "shut it down"},
		"port in use": {func(t *testing.T, _ *studio, g *standin.Guest) {
			if err := edit(g.Name(), "Serial1.Present", "true"); err != nil {
				t.Fatal(err)
			}
		}, "remove that port"},
		"no account": {func(t *testing.T, _ *studio, _ *standin.Guest) { t.Setenv("ASSAY_GUEST_USER", "") }, "ASSAY_GUEST_USER"},
		"no tools":   {func(_ *testing.T, s *studio, _ *standin.Guest) { s.host.Break("tools") }, "not running in the virtual machine"},
		"wrong word": {func(t *testing.T, _ *studio, _ *standin.Guest) { t.Setenv("ASSAY_GUEST_PASSWORD", "wrong") }, "Invalid user name"},
	} {
		t.Run(what, func(t *testing.T) {
			d, s, vmx, check := theirs(t)
			g := s.host.Guest(vmx)
			tc.spoil(t, s, g)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.enough = cancel
			_, err := d.Adopt(ctx, vmx, spec(t, "a"))
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "jane's secret") {
				t.Errorf("got %v, want an error that says %q, and no password", err, tc.says)
			}
			switch what {
			case "running":
				if !g.Running() {
					t.Error("the machine was switched off")
				}
			case "port in use":
				if c, err := readConfig(vmx); err != nil || c.get("serial1.present") == "" {
					t.Errorf("the machine lost its port: %v", err)
				}
			default:
				check()
			}
		})
	}
}

// TestToolsBringWhatVMwareDoesNot proves that input, output, root and exit codes
// pass, as files, and that nothing stays.
func TestToolsBringWhatVMwareDoesNot(t *testing.T) {
	d, s, vmx, _ := theirs(t)
	if err := s.host.Guest(vmx).Start(); err != nil {
		t.Fatal(err)
	}
	p, err := d.product(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account, err := cli.GuestAccount()
	if err != nil {
		t.Fatal(err)
	}
	in := tools{p: p, vmx: vmx, account: account, dir: t.TempDir()}
	out, err := in.Exec(t.Context(), []string{"sh", "-c", `cat; echo "it's"; echo lost >&2; id -u`}, strings.NewReader("a 'b'\n"))
	if err != nil || string(out) != "a 'b'\nit's\n0\n" {
		t.Errorf("got %q, %v; want the input and root's number", out, err)
	}
	_, err = in.Exec(t.Context(), []string{"sh", "-c", "echo because >&2; exit 7"}, nil)
	if e := (*cli.Error)(nil); !errors.As(err, &e) || e.Exit != 7 || !strings.Contains(e.Said, "because") {
		t.Errorf("got %v, want exit code 7 and its reason", err)
	}
	if out, err := in.Exec(t.Context(), []string{"ls", "/tmp"}, nil); err != nil || strings.Count(string(out), "\n") > 3 {
		t.Errorf("got %q, %v; want no more than this call's own three files", out, err)
	}
	if left, err := os.ReadDir(in.dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left on the host, %v", left, err)
	}
}

// TestAdoptOfNoMachine proves that only a description's path is a name.
func TestAdoptOfNoMachine(t *testing.T) {
	d, _, vmx, _ := theirs(t)
	for _, name := range []string{"Jane's Debian", vmx + ".vmx", "/etc/passwd"} {
		if _, err := d.Adopt(t.Context(), name, vm.Spec{Dir: t.TempDir()}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want fs.ErrNotExist", name, err)
		}
	}
}
