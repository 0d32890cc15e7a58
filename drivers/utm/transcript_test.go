package utm

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// replay returns a driver whose commands answer by a transcript. The machine that
// a script makes there, or gives a line, is a guest whose agent answers on that
// line, from the seed disk that it was made with.
func replay(t *testing.T, file string) *driver {
	t.Helper()
	play := standin.Replay(t, filepath.Join("testdata", file+".jsonl"))
	p := &player{t: t}
	t.Cleanup(p.serving.Wait)
	p.host = standin.New(t, "utmctl", play)
	p.host.Tool("osascript", func(c *standin.Call) int {
		if len(c.Args) > 9 && p.host.Guest(c.Args[1]) == nil {
			if err := p.lives(c.Args[1:]); err != nil {
				t.Error(err)
			}
		}
		return play(c)
	})
	d := newDriver(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram})
	d.ctl.Systems = nil // this host plays a Mac
	d.pause, d.doubt, d.power, d.boot = 50*time.Millisecond, 20*time.Second, 20*time.Second, 20*time.Second
	return d
}

// lives makes the guest of a machine that "make" was told of.
func (p *player) lives(args []string) error {
	g, err := p.host.Create(args[0], standin.Size{})
	if err != nil || len(args) < 10 || !strings.HasSuffix(args[7], ".iso") {
		return err
	}
	p.keep(g, &box{State: started, Seed: args[7], Extra: args[9:]})
	return p.boot(g, of(g))
}

// ask asks for the machine that transcripts make.
func ask(t *testing.T, name string) vm.Spec {
	img := cloudImage(t)
	img.Arch = "amd64"
	return vm.Spec{
		Name: name, Owner: "transcript", Dir: t.TempDir(), Image: img,
		CPUs: 2, Memory: 2 << 30, Network: vm.Network{Mode: vm.NetworkNone},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestLife replays a whole life in the version that has snapshots.
func TestLife(t *testing.T) {
	d, ctx := replay(t, "life"), t.Context()
	info, err := d.Probe(ctx)
	if must(t, err); info.Version != "UTM 5.0.6" {
		t.Errorf("got %+v, want version 5.0.6", info)
	}
	m, err := d.Launch(ctx, ask(t, "one"))
	must(t, err)
	must(t, m.(vm.Snapshotter).Snapshot(ctx, "base"))
	must(t, m.(vm.Suspender).Suspend(ctx))
	must(t, m.(vm.Suspender).Resume(ctx))
	must(t, m.(vm.Snapshotter).Restore(ctx, "base"))
	must(t, m.Close())
}

// TestFailures replays what goes wrong with UTM. Nothing is left by any of it.
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
	any := errors.New("an error")
	for file, tc := range map[string]struct {
		do    func(*driver, *testing.T) error
		power time.Duration
		kind  error  // that the error matches; nil: there is no error
		says  string // that it holds
	}{
		"no-such-machine":         {do: adopt("Windows 11"), kind: fs.ErrNotExist, says: `"Windows 11"`},
		"name-taken":              {do: launch, kind: fs.ErrExist, says: "one"},
		"two-of-a-name":           {do: adopt("Debian 13"), kind: any, says: "got 2 virtual machines"},
		"no-space":                {do: launch, kind: cli.ErrNoSpace, says: "not enough disk space"},
		"no-permission":           {do: probe, kind: any, says: "Automation"},
		"no-permission-localised": {do: probe, kind: any, says: "Automation"},
		"app-down":                {do: probe, kind: any, says: "open -a UTM"},
		"app-gone":                {do: probe, kind: any, says: "brew install --cask utm"},
		"busy":                    {do: probe},
		"old-version":             {do: probe},
		"exit-0":                  {do: launch, power: 2 * time.Second, kind: cli.ErrState, says: "Operation not available"},
		"exit-0-silent":           {do: launch, power: 2 * time.Second, kind: context.DeadlineExceeded, says: `the state "started"`},
		"localised":               {do: launch},
		"no-tools":                {do: adopt("mine"), kind: cli.ErrNoTools, says: "qemu-guest-agent"},
	} {
		t.Run(file, func(t *testing.T) {
			d := replay(t, file)
			if tc.power > 0 {
				d.power, d.doubt = tc.power, tc.power
			}
			err := tc.do(d, t)
			if tc.kind == nil {
				must(t, err)
				return
			}
			if err == nil || tc.kind != any && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want one that matches %v and says %q", err, tc.kind, tc.says)
			}
			if names, err := d.place.Names(); err != nil || len(names) > 0 {
				t.Errorf("the driver's folder holds %q, %v, want nothing left", names, err)
			}
		})
	}
}

// TestNotInstalled proves that a Mac without UTM is told what to do, and that
// there is nothing to sweep on it.
func TestNotInstalled(t *testing.T) {
	d, p := onMac(t, "5.0.3")
	p.host.Remove("utmctl")
	_, err := d.Probe(t.Context())
	missing := (*vm.UnavailableError)(nil)
	if !errors.As(err, &missing) || missing.Fix != install {
		t.Errorf("Probe: got %v, want a *vm.UnavailableError that says how to install it", err)
	}
	if _, err := d.Launch(t.Context(), ask(t, "one")); !errors.As(err, &missing) {
		t.Errorf("Launch: got %v, want a *vm.UnavailableError", err)
	}
	if n, err := d.Sweep(t.Context(), "transcript"); n != 0 || err != nil {
		t.Errorf("Sweep: got %d, %v, want 0", n, err)
	}
}

// TestHang proves that a utmctl that never ends is ended.
func TestHang(t *testing.T) {
	d, p := onMac(t, "5.0.3")
	p.host.Break("hang")
	d.ctl.Limit = 200 * time.Millisecond
	if _, err := d.Launch(t.Context(), ask(t, "one")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
}

// TestVersions proves that snapshots are there in the versions that have them,
// and that an older one says before anything happens what to do instead.
func TestVersions(t *testing.T) {
	for text, want := range map[string]bool{"4.6.5": false, "5.0.3": false, "5.0.5": false, "5.0.6": true, "5.1.0": true, "6.0": true} {
		var v version
		_, written, err := cli.FindVersion(text)
		must(t, err)
		v.parse(written)
		m := &machine{version: v}
		if instead, lacks := m.Lacks(vm.CapSnapshot); lacks == want || lacks != (instead != "") {
			t.Errorf("%s: got lacks = %v, %q, want %v", text, lacks, instead, !want)
		}
	}
}

// TestExec proves that the way through qemu-guest-agent tells a command that
// failed from one that did not run, and leaves words alone.
func TestExec(t *testing.T) {
	d, p := onMac(t, "5.0.3")
	p.have("Debian 13")
	spec := ask(t, "one")
	spec.Image = vm.Image{Name: "template:Debian 13"}
	m, err := d.Launch(t.Context(), spec)
	must(t, err)
	g := tools{m.(*machine)}
	want := "it's $HOME; `id` \"x\" \\ \n -n *"
	if got, err := g.Exec(t.Context(), []string{"printf", "%s", want}, nil); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := g.Exec(t.Context(), []string{"cat"}, strings.NewReader(want)); err != nil || string(got) != want {
		t.Errorf("stdin: got %q, %v, want %q", got, err, want)
	}
	if _, err := g.Exec(t.Context(), []string{"sh", "-c", "echo Error: no >&2; exit 3"}, nil); err == nil || !strings.Contains(err.Error(), "exit code \"3\"") {
		t.Errorf("exit 3: got %v, want that code", err)
	}
	if _, err := g.Exec(t.Context(), []string{"sh", "-c", "echo Error from event >&2"}, nil); err != nil {
		t.Errorf("a guest that complains and succeeds: got %v", err)
	}
	p.host.Break("full guest")
	if err := g.Put(t.Context(), []byte("all of it"), "/tmp/x", 0o600); err == nil {
		t.Error("half a file passes for all of it")
	}
	for _, mode := range []string{"tools", "silent"} {
		p.host.Break(mode)
		if _, err := g.Exec(t.Context(), []string{"true"}, nil); !errors.Is(err, cli.ErrNoTools) {
			t.Errorf("%s: got %v, want cli.ErrNoTools", mode, err)
		}
	}
	p.host.Break("")
	must(t, m.Close())
}

// TestLies proves that neither a snapshot that is not there, nor one without the
// memory, nor a full disk passes for a snapshot, and that the machine goes on.
func TestLies(t *testing.T) {
	d, p := onMac(t, "5.0.6")
	m, err := d.Launch(t.Context(), ask(t, "one"))
	must(t, err)
	for mode, want := range map[string]string{"lying": "with the memory", "cold": "with the memory", "full": "no space left"} {
		p.host.Break(mode)
		if err := m.(vm.Snapshotter).Snapshot(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", mode, err, want)
		}
	}
	p.host.Break("")
	must(t, m.(*machine).ready(t.Context()))
	must(t, m.Close())
}

// TestRefused proves that what cannot be is refused before anything is asked of
// UTM, and that a machine that runs is not adopted.
func TestRefused(t *testing.T) {
	d, p := onMac(t, "5.0.3")
	for what, edit := range map[string]func(*vm.Spec){
		"no boot loader": func(s *vm.Spec) { s.Image.Kernel = "/k" },
		"s390x":          func(s *vm.Spec) { s.Image.Arch = "s390x" },
		"some hosts":     func(s *vm.Spec) { s.Network = vm.Network{Mode: vm.NetworkAllow, Hosts: []string{"example.org"}} },
	} {
		spec := ask(t, "one")
		edit(&spec)
		_, err := d.Launch(t.Context(), spec)
		refused(t, what, err)
	}
	if calls := p.host.Calls(); len(calls) > 0 {
		t.Errorf("got the calls %q, want none", calls)
	}
	g := p.have("mine")
	must(t, p.boot(g, of(g)))
	of(g).State = started
	_, err := d.Adopt(t.Context(), "mine", ask(t, "one"))
	refused(t, "a machine that runs", err)
}

func refused(t *testing.T, what string, err error) {
	t.Helper()
	if e := (*vm.UnsupportedError)(nil); !errors.As(err, &e) || e.Instead == "" {
		t.Errorf("%s: got %v, want a *vm.UnsupportedError that says what to do instead", what, err)
	}
}

// TestOwnPort proves that both lines of a machine are on the loopback only.
func TestOwnPort(t *testing.T) {
	m := newDriver(cli.Config{Home: t.TempDir()}).machine(snapshots, "x", vm.Spec{})
	must(t, m.choosePorts())
	if m.port == m.console.port {
		t.Errorf("both lines have the port %s", m.port)
	}
	for _, arg := range m.arguments() {
		if strings.Contains(arg, "port=") && !strings.Contains(arg, "host="+net.IPv4(127, 0, 0, 1).String()+",") {
			t.Errorf("%s listens to more than the loopback", arg)
		}
	}
}
