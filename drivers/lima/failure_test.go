package lima

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// TestProbeSaysWhy proves that each reason for which Lima cannot be used is named,
// with what to do.
func TestProbeSaysWhy(t *testing.T) {
	for what, c := range map[string]struct {
		prepare   func(*player)
		want, fix string
	}{
		"no limactl": {func(p *player) { p.host.Remove("limactl") }, "not installed", installer()},
		"root":       {func(p *player) { p.host.Break("root") }, "root", "sudo -u"},
		"too old":    {func(p *player) { p.version = "0.23.2" }, "0.23.2", "brew upgrade lima"},
		"no QEMU":    {func(p *player) { p.host.Remove("qemu-stand-in") }, "QEMU is not installed", "qemu"},
		"nonsense":   {func(p *player) { p.version = "HEAD" }, "want numbers", ""},
	} {
		p := newPlayer(t, "2.2.0", typeQEMU)
		c.prepare(p)
		_, err := p.driver().Probe(t.Context())
		u := (*vm.UnavailableError)(nil)
		if !errors.As(err, &u) || !strings.Contains(u.Reason, c.want) || !strings.Contains(u.Fix, c.fix) {
			t.Errorf("%s: got %v, want %q and %q", what, err, c.want, c.fix)
		}
	}
}

// TestHanging proves that a Lima that does not answer is given up, and that who
// went away meanwhile is not told that there is none.
func TestHanging(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	p.host.Break("hang")
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := p.driver().Probe(short)
	if u := (*vm.UnavailableError)(nil); !errors.As(err, &u) || !strings.Contains(u.Reason, "deadline") {
		t.Errorf("got %v, want a *vm.UnavailableError that says why", err)
	}
	gone, leave := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, leave)
	if _, err = p.driver().Probe(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestSweepWithoutLima proves that a host that lost its Lima says so in the way
// that tells it from a failure.
func TestSweepWithoutLima(t *testing.T) {
	for what, lose := range map[string]func(*player){
		"removed": func(p *player) { p.host.Remove("limactl") },
		"refuses": func(p *player) { p.host.Break("root") },
	} {
		p := newPlayer(t, "2.2.0", typeQEMU)
		lose(p)
		n, err := p.driver().Sweep(t.Context(), "test")
		if u := (*vm.UnavailableError)(nil); n != 0 || !errors.As(err, &u) {
			t.Errorf("%s: got %d, %v, want a *vm.UnavailableError", what, n, err)
		}
	}
}

// TestLaunchThatFails proves that each failure is what it is, and leaves nothing.
func TestLaunchThatFails(t *testing.T) {
	for mode, want := range map[string]error{
		"full": cli.ErrNoSpace, "tools": cli.ErrNoTools, "german": cli.ErrFailed, "lying": fs.ErrNotExist, "died": cli.ErrFailed, "timeout": errBoot,
	} {
		t.Run(mode, func(t *testing.T) {
			p := newPlayer(t, "2.2.0", typeQEMU)
			p.host.Break(mode)
			_, err := p.driver().Launch(t.Context(), spec(t, "m"))
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if boot := (*vm.BootError)(nil); errors.As(err, &boot) != (mode == "timeout") {
				t.Errorf("got %v; only a guest that does not come up is a *vm.BootError", err)
			}
			if mode == "died" && !strings.Contains(err.Error(), "Could not access KVM") {
				t.Errorf("got %v, want QEMU's own words", err)
			}
			if got := p.host.Guests(); len(got) > 0 {
				t.Errorf("got %d instances, want none left", len(got))
			}
		})
	}
}

func TestNameTaken(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	launch(t, p.driver(), spec(t, "m"))
	_, err := p.driver().Launch(t.Context(), spec(t, "m"))
	if !errors.Is(err, fs.ErrExist) || len(p.host.Guests()) != 1 {
		t.Errorf("got %v, %d instances; want fs.ErrExist, and the first one there", err, len(p.host.Guests()))
	}
}

func TestUnknownTemplate(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	s := spec(t, "m")
	s.Image.Name = "template:nosuch"
	_, err := p.driver().Launch(t.Context(), s)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "list-templates") {
		t.Errorf("got %v, want fs.ErrNotExist and how to list them", err)
	}
}

// TestSnapshotThatLies proves that a snapshot that is not there is an error,
// though Lima was content.
func TestSnapshotThatLies(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	m := launch(t, p.driver(), spec(t, "m"))
	p.host.Break("lying")
	if err := m.Snapshot(t.Context(), "a"); err == nil {
		t.Error("got nil, want an error")
	}
	p.host.Break("")
	if err := m.Restore(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the snapshot that failed: got %v, want fs.ErrNotExist", err)
	}
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestRestoreThatFails proves that a guest which QEMU has left standing still runs
// again, and that the failure, which Lima tells with the exit code 0, is one.
func TestRestoreThatFails(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	m := launch(t, p.driver(), spec(t, "m"))
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	p.host.Break("monitor")
	if err := m.Restore(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "does not support snapshots") {
		t.Errorf("got %v, want QEMU's words", err)
	}
	if g := p.host.Guest(m.id); !g.Running() || g.Paused() {
		t.Error("the guest still stands still")
	}
}

// TestFailedCopyStartsAgain proves that a machine runs on when it could not be
// copied.
func TestFailedCopyStartsAgain(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeVZ)
	m := launch(t, p.driver(), spec(t, "m"))
	p.host.Break("full")
	if err := m.Snapshot(t.Context(), "a"); !errors.Is(err, cli.ErrNoSpace) {
		t.Errorf("got %v, want no space", err)
	}
	if g := p.host.Guest(m.id); !g.Running() || len(p.host.Guests()) != 1 {
		t.Errorf("got a machine that runs: %v, %d instances; want it alone, running", g.Running(), len(p.host.Guests()))
	}
}

// TestGuestThatStops proves that a machine says that its guest ended it, and that
// dialling does not start it.
func TestGuestThatStops(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeQEMU)
	m := launch(t, p.driver(), spec(t, "m"))
	if err := p.host.Guest(m.id).Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := m.Dial(t.Context())
	if stopped := (*vm.StoppedError)(nil); !errors.As(err, &stopped) {
		t.Errorf("got %v, want a *vm.StoppedError", err)
	}
	if p.host.Guest(m.id).Running() {
		t.Error("dialling started it")
	}
}

// TestDeletedBehindOurBack proves that Close is content with what is gone, and
// that no start makes an instance of that name.
func TestDeletedBehindOurBack(t *testing.T) {
	p := newPlayer(t, "2.2.0", typeVZ)
	m := launch(t, p.driver(), spec(t, "m"))
	p.host.Guest(m.id).Delete()
	for what, do := range map[string]func(context.Context) error{
		"dial":     func(ctx context.Context) error { _, err := m.Dial(ctx); return err },
		"snapshot": func(ctx context.Context) error { return m.Snapshot(ctx, "a") },
	} {
		if err := do(t.Context()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want fs.ErrNotExist", what, err)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
