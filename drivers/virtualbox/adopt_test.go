package virtualbox

import (
	"context"
	"errors"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// theirs returns a machine of the user's, and what checks that it is untouched.
func theirs(t *testing.T) (*driver, *box, string, func()) {
	t.Helper()
	d, b, _ := standIn(t)
	name, check := b.existing(t)
	return d, b, name, check
}

// TestAdoptedGoesBack proves that snapshots, a pulled cable and a guest that
// stands still are nothing that the user finds later.
func TestAdoptedGoesBack(t *testing.T) {
	d, _, name, check := theirs(t)
	v, err := d.Adopt(t.Context(), name, spec(t, "a"))
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
	if err := errors.Join(m.SetLink(t.Context(), false), m.Suspend(t.Context())); err != nil {
		t.Error(err)
	}
	for _, c := range []vm.Capability{vm.CapFork, vm.CapConsole} {
		if instead, lacks := m.Lacks(c); !lacks || instead == "" {
			t.Errorf("%s: got %q, %v; want what to do instead", c, instead, lacks)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	check()
}

// TestAdoptRefuses proves that what cannot be adopted is said, and stays as it is.
func TestAdoptRefuses(t *testing.T) {
	for what, tc := range map[string]struct {
		spoil func(*testing.T, *box, *standin.Guest)
		says  string
	}{
		"running": {func(t *testing.T, _ *box, g *standin.Guest) {
			if err := g.Start(); err != nil {
				t.Fatal(err)
			}
		}, "shut it down"},
		"port in use": {func(_ *testing.T, _ *box, g *standin.Guest) {
			set(g, "--uartmode2", []string{"file", "/tmp/theirs"})
		}, "--uart2 off"},
		"no account":  {func(t *testing.T, _ *box, _ *standin.Guest) { t.Setenv("ASSAY_GUEST_PASSWORD", "") }, "ASSAY_GUEST_USER"},
		"no tools":    {func(_ *testing.T, b *box, _ *standin.Guest) { b.host.Break("tools") }, "not ready"},
		"wrong word":  {func(t *testing.T, _ *box, _ *standin.Guest) { t.Setenv("ASSAY_GUEST_PASSWORD", "wrong") }, "logon"},
		"not started": {func(_ *testing.T, b *box, _ *standin.Guest) { b.host.Break("module") }, "vboxconfig"},
	} {
		t.Run(what, func(t *testing.T) {
			d, b, name, check := theirs(t)
			g := b.host.Guest(name)
			tc.spoil(t, b, g)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b.enough = cancel
			_, err := d.Adopt(ctx, name, spec(t, "a"))
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "jane's secret") {
				t.Errorf("got %v, want an error that says %q, and no password", err, tc.says)
			}
			switch what {
			case "running":
				if !g.Running() {
					t.Error("the machine was switched off")
				}
			case "port in use":
				if get[[]string](g, "--uartmode2") == nil {
					t.Error("the machine lost its port")
				}
			default:
				check()
			}
		})
	}
}

// TestControlBringsInput proves that input gets in as a file and does not stay,
// and that what a guest's program complains of is no complaint of VirtualBox's.
func TestControlBringsInput(t *testing.T) {
	d, b, name, _ := theirs(t)
	g := b.host.Guest(name)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	account, err := cli.GuestAccount()
	if err != nil {
		t.Fatal(err)
	}
	c := control{tool: guestTool(d.manage), id: name, account: account, dir: t.TempDir()}
	if err := c.prepare(); err != nil {
		t.Fatal(err)
	}
	out, err := c.Exec(t.Context(), []string{"sh", "-c", "cat; echo 'VBoxManage: error: VBOX_E_OBJECT_NOT_FOUND' >&2; id -u"}, strings.NewReader("a 'b'\n"))
	if err != nil || string(out) != "a 'b'\n0\n" {
		t.Errorf("got %q, %v; want the input, and root's number", out, err)
	}
	if out, err := c.Exec(t.Context(), []string{"ls", "/tmp"}, nil); err != nil || len(out) > 0 {
		t.Errorf("got %q, %v; want nothing left in /tmp", out, err)
	}
	if _, err := c.Exec(t.Context(), []string{"sh", "-c", "exit 100"}, nil); err == nil {
		t.Error("exit code 100: got no error")
	}
}
