package hyperv

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/guest"
	"assay/vm"
)

// readable lets a transcript say a call as "powershell VERB INPUT" and its answer
// as JSON: the script itself was compared with the driver's.
func readable(p *player, replay func(*standin.Call) int) func(*standin.Call) int {
	return func(c *standin.Call) int {
		verb, in, err := p.read(c.Args)
		if err != nil {
			p.t.Error(err)
			return c.Fail(1, "%v", err)
		}
		said, plain := &bytes.Buffer{}, *c
		plain.Args, plain.Stdout = []string{verb, string(in)}, said
		exit := replay(&plain)
		if verb == "convert" && exit == 0 {
			if _, err := p.convert(in); err != nil { // a transcript makes no files
				p.t.Error(err)
			}
		}
		if text := strings.TrimSpace(said.String()); strings.HasPrefix(text, "{") {
			return c.Printf("%s%s\r\n", answerMark, base64.StdEncoding.EncodeToString([]byte(text))) + exit
		}
		c.Printf("%s", said)
		return exit
	}
}

// replayed returns a driver whose Hyper-V is a transcript, with a guest that
// answers as soon as a seed disk is there.
func replayed(t *testing.T, file string) *driver {
	t.Helper()
	p := &player{t: t}
	p.host = standin.New(t, "powershell", func(c *standin.Call) int { return c.Fail(1, "too early") })
	p.host.Tool("powershell", readable(p, standin.Replay(t, filepath.Join("testdata", file+".jsonl"))))
	d := New(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram}).(*driver)
	d.shell.Systems = nil // this host plays a Windows
	d.connect = func(ctx context.Context, id string, _ uint32) (net.Conn, error) {
		g := p.host.Guest(id)
		if g == nil {
			seeds, err := filepath.Glob(d.place.Dir("*/" + seedName))
			if err != nil || len(seeds) != 1 {
				return nil, fmt.Errorf("got the seed disks %q, %v; want one", seeds, err)
			}
			if g, err = p.host.Create(id, standin.Size{}); err != nil {
				return nil, err
			}
			if err := errors.Join(g.Seed(seeds[0]), g.Start()); err != nil {
				return nil, err
			}
		}
		near, far := net.Pipe()
		go g.Serve(context.Background(), far)
		return near, nil
	}
	return d
}

func transcriptSpec(t *testing.T) vm.Spec {
	return vm.Spec{
		Name: "one", Owner: "me", Dir: t.TempDir(), Image: cloudImage(t), CPUs: 2, Memory: 512 << 20, Disk: 8 << 30,
		Network: vm.Network{Mode: vm.NetworkOpen},
	}
}

// TestLife goes through a machine's whole life.
func TestLife(t *testing.T) {
	d := replayed(t, "life")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v, err := d.Launch(ctx, transcriptSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	m := v.(*machine)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"snapshot", func() error { return m.Snapshot(ctx, "clean") }},
		{"suspend", func() error { return m.Suspend(ctx) }},
		{"resume", func() error { return m.Resume(ctx) }},
		{"link down", func() error { return m.SetLink(ctx, false) }},
		{"restore", func() error { return m.Restore(ctx, "clean") }},
		{"link up", func() error { return m.SetLink(ctx, true) }},
		{"usage", func() error {
			u, err := m.Usage(ctx)
			if u.CPU != 1500*time.Millisecond || u.Memory != 536870912 || u.PID != 4242 {
				t.Errorf("usage: got %+v", u)
			}
			return err
		}},
		{"line", func() error {
			conn, err := m.Dial(ctx)
			if err != nil {
				return err
			}
			c, err := guest.Connect(ctx, conn)
			if err != nil {
				return err
			}
			return c.Close()
		}},
		{"close", m.Close},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
	}
}

// TestFailures proves what becomes of each complaint.
func TestFailures(t *testing.T) {
	boot := func(err error) bool { _, ok := errors.AsType[*vm.BootError](err); return ok }
	unavailable := func(err error) bool { _, ok := errors.AsType[*vm.UnavailableError](err); return ok }
	kind := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	for file, want := range map[string]struct {
		is   func(error) bool
		says string
	}{
		"not-installed":   {unavailable, enableHyperV},
		"no-module":       {unavailable, enableHyperV},
		"daemon-down":     {unavailable, startService},
		"no-rights":       {unavailable, "Hyper-V Administrators"},
		"name-taken":      {kind(fs.ErrExist), "there is a virtual machine"},
		"no-space":        {kind(cli.ErrNoSpace), "not enough space"},
		"localised":       {kind(cli.ErrNoSpace), "Speicherplatz"},
		"no-memory":       {kind(cli.ErrNoMemory), "Not enough memory"},
		"no-hypervisor":   {kind(cli.ErrVirtual), "bcdedit"},
		"no-switch":       {kind(cli.ErrNetwork), "New-VMSwitch"},
		"exit-0":          {nil, `want a line that begins with "assay-answer "`},
		"no-such-machine": {kind(fs.ErrNotExist), "somebody removed"},
		"guest-stops":     {boot, "the guest shut itself down"},
	} {
		t.Run(file, func(t *testing.T) {
			d := replayed(t, file)
			d.connect = func(context.Context, string, uint32) (net.Conn, error) { return nil, errors.New("nobody listens") }
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			m, err := d.Launch(ctx, transcriptSpec(t))
			if err == nil {
				t.Fatal(errors.Join(errors.New("got a machine"), m.Close()))
			}
			if want.is != nil && !want.is(err) || !strings.Contains(err.Error(), want.says) {
				t.Errorf("got %v, want another kind, or %q", err, want.says)
			}
			if names, err := d.place.Names(); len(names) > 0 || err != nil {
				t.Errorf("left behind: %q, %v", names, err)
			}
		})
	}
}
