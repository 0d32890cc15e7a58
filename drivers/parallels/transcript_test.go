package parallels

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// replay returns a driver whose commands answer by a transcript.
func replay(t *testing.T, file string) *driver {
	t.Helper()
	play := standin.Replay(t, filepath.Join("testdata", file+".jsonl"))
	standin.New(t, "prlctl", play).Tool("prlsrvctl", play)
	d := newDriver(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram})
	d.ctl.Systems = nil // this host plays a Mac
	d.pause, d.doubt, d.boot = 50*time.Millisecond, 20*time.Second, 20*time.Second
	return d
}

// ask asks for the machine that transcripts make.
func ask(t *testing.T, name string) vm.Spec {
	return vm.Spec{
		Name: name, Owner: "transcript", Dir: t.TempDir(), Image: vm.Image{Name: "template:Debian 13"},
		CPUs: 2, Memory: 2 << 30, Network: vm.Network{Mode: vm.NetworkNone},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLife replays a whole life: a clone, its snapshot, its fork, their end.
func TestLife(t *testing.T) {
	d, ctx := replay(t, "life"), t.Context()
	info, err := d.Probe(ctx)
	if must(t, err); info.Version != "Parallels Desktop 26.3.2" || info.Detail != "edition pro" {
		t.Errorf("got %+v, want version 26.3.2, edition pro", info)
	}
	spec := ask(t, "one")
	spec.Network.Mode = vm.NetworkOpen
	m, err := d.Launch(ctx, spec)
	must(t, err)
	must(t, m.(vm.Snapshotter).Snapshot(ctx, "base"))
	must(t, m.(vm.Networker).SetLink(ctx, false))
	must(t, m.(vm.Networker).SetLink(ctx, true))
	must(t, m.(vm.Suspender).Suspend(ctx))
	must(t, m.(vm.Suspender).Resume(ctx))
	must(t, m.(vm.Snapshotter).Restore(ctx, "base"))
	fork, err := m.(vm.Forker).Fork(ctx, "base", ask(t, "two"))
	must(t, err)
	must(t, m.Close())
	must(t, fork.Close())
}

// TestFailures replays what goes wrong with prlctl. Nothing is left by any of it.
func TestFailures(t *testing.T) {
	launch := func(d *driver, t *testing.T) error {
		m, err := d.Launch(t.Context(), ask(t, "one"))
		if err == nil {
			return m.Close()
		}
		return err
	}
	adopt := func(name string) func(*driver, *testing.T) error {
		return func(d *driver, t *testing.T) error {
			_, err := d.Adopt(t.Context(), name, ask(t, "one"))
			return err
		}
	}
	probe := func(d *driver, t *testing.T) error { _, err := d.Probe(t.Context()); return err }
	for file, tc := range map[string]struct {
		do   func(*driver, *testing.T) error
		boot time.Duration
		kind error  // that the error matches; nil: there is no error
		says string // that it holds
	}{
		"no-such-machine":      {do: adopt("Windows 11"), kind: fs.ErrNotExist, says: `"Windows 11"`},
		"name-taken":           {do: launch, kind: fs.ErrExist, says: "one"},
		"name-taken-meanwhile": {do: launch, kind: fs.ErrExist},
		"no-space":             {do: launch, kind: cli.ErrNoSpace, says: "not enough disk space"},
		"no-tools":             {do: launch, boot: 2 * time.Second, kind: cli.ErrNoTools, says: "prlctl installtools"},
		"daemon-down":          {do: probe, says: "open -b com.parallels.desktop.console", kind: errAny},
		"localised":            {do: launch},
		"localised-failure":    {do: launch, kind: cli.ErrFailed, says: "konnte nicht"},
		"exit-0":               {do: launch, boot: 2 * time.Second, kind: context.DeadlineExceeded, says: `the state "running"`},
		"exit-255-and-done":    {do: launch},
		"garbage":              {do: adopt("Windows 11"), kind: fs.ErrNotExist},
	} {
		t.Run(file, func(t *testing.T) {
			d := replay(t, file)
			if tc.boot > 0 {
				d.boot, d.doubt = tc.boot, tc.boot
			}
			err := tc.do(d, t)
			if tc.kind == nil {
				must(t, err)
				return
			}
			if err == nil || tc.kind != errAny && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want one that matches %v and says %q", err, tc.kind, tc.says)
			}
			if names, err := d.place.Names(); err != nil || len(names) > 0 {
				t.Errorf("the driver's folder holds %q, %v, want nothing left", names, err)
			}
		})
	}
}

// errAny stands for any error.
var errAny = errors.New("an error")

// TestNotInstalled proves that a Mac without Parallels is told what to do, and
// that there is nothing to sweep on it.
func TestNotInstalled(t *testing.T) {
	d, p := install(t)
	p.host.Remove("prlctl")
	_, err := d.Probe(t.Context())
	missing := (*vm.UnavailableError)(nil)
	if !errors.As(err, &missing) || missing.Fix != "brew install --cask parallels" {
		t.Errorf("Probe: got %v, want a *vm.UnavailableError that says how to install it", err)
	}
	if _, err := d.Launch(t.Context(), ask(t, "one")); !errors.As(err, &missing) {
		t.Errorf("Launch: got %v, want a *vm.UnavailableError", err)
	}
	if n, err := d.Sweep(t.Context(), "transcript"); n != 0 || err != nil {
		t.Errorf("Sweep: got %d, %v, want 0", n, err)
	}
}

// TestHang proves that a prlctl that never ends is ended.
func TestHang(t *testing.T) {
	d, p := install(t)
	p.host.Break("hang")
	d.ctl.Limit = 200 * time.Millisecond
	if _, err := d.Launch(t.Context(), ask(t, "one")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

// TestLies proves that neither a snapshot that is not there nor a full disk
// passes for a snapshot, and that the machine goes on.
func TestLies(t *testing.T) {
	d, p := install(t)
	p.have("Debian 13")
	m, err := d.Launch(t.Context(), ask(t, "one"))
	must(t, err)
	for mode, want := range map[string]string{"lying": "has no such snapshot", "full": "no space left"} {
		p.host.Break(mode)
		if err := m.(vm.Snapshotter).Snapshot(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", mode, err, want)
		}
	}
	p.host.Break("")
	answers(t, m)
	must(t, m.Close())
}

// TestRefused proves that what cannot be is refused before anything is asked of
// Parallels.
func TestRefused(t *testing.T) {
	d, p := install(t)
	for what, edit := range map[string]func(*vm.Spec){
		"no boot loader": func(s *vm.Spec) { s.Image = vm.Image{Name: "debian-12", Kernel: "/k", Disk: "/d", Format: "raw"} },
		"s390x":          func(s *vm.Spec) { s.Image.Arch = "s390x" },
		"some hosts":     func(s *vm.Spec) { s.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"example.org"}} },
	} {
		spec := ask(t, "one")
		edit(&spec)
		_, err := d.Launch(t.Context(), spec)
		if refused := (*vm.UnsupportedError)(nil); !errors.As(err, &refused) || refused.Instead == "" {
			t.Errorf("%s: got %v, want a *vm.UnsupportedError that says what to do instead", what, err)
		}
	}
	if calls := p.host.Calls(); len(calls) > 0 {
		t.Errorf("got the calls %q, want none", calls)
	}
	running := p.have("Debian 13")
	p.put(running, "running")
	if _, err := d.Launch(t.Context(), ask(t, "one")); !errors.Is(err, cli.ErrState) {
		t.Errorf("a template that runs: got %v, want cli.ErrState", err)
	}
}

// TestHostileWords proves that no word of a command is taken for anything else on
// its way through prlctl and the guest's shell.
func TestHostileWords(t *testing.T) {
	d, p := install(t)
	p.have("Debian 13")
	m, err := d.Launch(t.Context(), ask(t, "one"))
	must(t, err)
	want := "it's $HOME; `id` \"x\" \\ \n -n *"
	got, err := tools{m.(*machine)}.Exec(t.Context(), []string{"printf", "%s", want}, nil)
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	must(t, m.Close())
}
