package multipass

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/guest"
	"assay/vm"
)

// TestProbeSaysWhy proves that each reason for which Multipass cannot be used is
// named, with the command that mends it.
func TestProbeSaysWhy(t *testing.T) {
	for mode, want := range map[string]string{"remove": "not installed", "daemon": "multipassd does not answer"} {
		p := newPlayer(t, "1.16.3")
		if mode == "remove" {
			p.host.Remove("multipass")
		} else {
			p.host.Break(mode)
		}
		_, err := p.driver().Probe(t.Context())
		u := (*vm.UnavailableError)(nil)
		if !errors.As(err, &u) || !strings.Contains(u.Reason, want) || u.Fix == "" {
			t.Errorf("%s: got %v, want %q and what to type", mode, err, want)
		}
	}
}

// TestSweepWithoutMultipass proves that a host that lost its Multipass says so in the way
// that tells it from a failure.
func TestSweepWithoutMultipass(t *testing.T) {
	for what, lose := range map[string]func(*player){
		"removed": func(p *player) { p.host.Remove("multipass") },
		"refuses": func(p *player) { p.host.Break("daemon") },
	} {
		p := newPlayer(t, "1.16.3")
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
		"full": cli.ErrNoSpace, "tools": cli.ErrNoTools, "german": cli.ErrFailed, "lying": fs.ErrNotExist,
	} {
		t.Run(mode, func(t *testing.T) {
			p := newPlayer(t, "1.16.3")
			p.host.Break(mode)
			_, err := p.driver().Launch(t.Context(), spec(t, "m"))
			if !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
			if got := p.host.Guests(); mode != "german" && len(got) > 0 {
				t.Errorf("got %d instances, want none left", len(got))
			}
		})
	}
}

func TestNameTaken(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	launch(t, p.driver(), spec(t, "m"))
	_, err := p.driver().Launch(t.Context(), spec(t, "m"))
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want fs.ErrExist", err)
	}
	if len(p.host.Guests()) != 1 {
		t.Error("the one who has the name lost its machine")
	}
}

// TestDaemonGoesOn proves that an instance that the daemon makes after its
// command was killed is destroyed.
func TestDaemonGoesOn(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	p.slow = 700 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	s := spec(t, "m")
	s.Progress = func(string) { cancel() }
	_, err := p.driver().Launch(ctx, s)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	time.Sleep(p.slow)
	if got := p.host.Guests(); len(got) > 0 {
		t.Errorf("got %d instances, want none", len(got))
	}
}

// TestFailedSnapshotStartsAgain proves that a machine runs on after a snapshot
// that failed, and that nothing of it is left.
func TestFailedSnapshotStartsAgain(t *testing.T) {
	for mode, want := range map[string]error{"full": cli.ErrNoSpace, "half": cli.ErrNoSpace, "lying": cli.ErrState} {
		t.Run(mode, func(t *testing.T) {
			p := newPlayer(t, "1.16.3")
			m := launch(t, p.driver(), spec(t, "m"))
			p.host.Break(mode)
			if err := m.Snapshot(t.Context(), "a"); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
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
			if got := p.host.Guests(); len(got) != 1 || len(got[0].Snapshots()) != 0 {
				t.Errorf("got %d instances, want the machine, without snapshots", len(got))
			}
		})
	}
}

// TestRestoreThatLies proves that a restore that says nothing is an error.
func TestRestoreThatLies(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	m := launch(t, p.driver(), spec(t, "m"))
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	g := p.host.Guest(m.id)
	p.host.Tool("multipass", func(c *standin.Call) int {
		if c.Args[0] == "restore" {
			return c.Fail(0, "restore failed: No such snapshot")
		}
		return p.play(c)
	})
	if err := m.Restore(t.Context(), "a"); err == nil {
		t.Error("got nil, want an error")
	}
	if !g.Running() {
		t.Error("the machine was not started again")
	}
}

// TestGuestThatStops proves that a machine says that its guest ended it, on the
// line and when it is dialled, and that dialling does not start it.
func TestGuestThatStops(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	m := launch(t, p.driver(), spec(t, "m"))
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := p.host.Guest(m.id).Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = c.Exec(t.Context(), guest.Command{Shell: "true"}, nil, nil, nil)
	if stopped := (*vm.StoppedError)(nil); !errors.As(err, &stopped) {
		t.Errorf("on the line: got %v, want a *vm.StoppedError", err)
	}
	_, err = m.Dial(t.Context())
	if stopped := (*vm.StoppedError)(nil); !errors.As(err, &stopped) {
		t.Errorf("dialled: got %v, want a *vm.StoppedError", err)
	}
}

// TestDeletedBehindOurBack proves that Close is content with what is gone.
func TestDeletedBehindOurBack(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	m := launch(t, p.driver(), spec(t, "m"))
	p.host.Guest(m.id).Delete()
	if _, err := m.Dial(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
