package lima

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// replayed returns a driver whose Lima is a transcript.
func replayed(t *testing.T, name string) *driver {
	t.Helper()
	h := standin.New(t, "limactl", standin.Replay(t, filepath.Join("testdata", name+".jsonl")))
	h.Tool("qemu-stand-in", func(c *standin.Call) int { return c.Fail(1, "nobody starts it here") })
	for _, e := range emulators {
		t.Setenv(e.variable, "qemu-stand-in")
	}
	agent := func(string) ([]byte, error) { return []byte("agent of a test"), nil }
	return New(cli.Config{Home: t.TempDir(), Agents: agent}).(*driver)
}

// TestRecorded proves that what a real Lima answered is understood.
func TestRecorded(t *testing.T) {
	d := replayed(t, "recorded")
	run := func(tool *cli.Tool, args ...string) func(context.Context) error {
		return func(ctx context.Context) error { _, err := tool.Run(ctx, args...); return err }
	}
	inside := d.machine(host{vmType: typeQEMU}, "v1", vm.Spec{}).Inside
	shell := func(want string, argv ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			r, err := inside.Tool.Run(ctx, append(append([]string{}, inside.Args...), argv...)...)
			if string(r.Stdout) != want {
				t.Errorf("%q: got %q, want %q", argv, r.Stdout, want)
			}
			return err
		}
	}
	for _, c := range []struct {
		what string
		do   func(context.Context) error
		want error
	}{
		{"version", func(ctx context.Context) error {
			r, err := d.tool.Run(ctx, "--version")
			if v, written, _ := cli.FindVersion(r.Text()); written != "2.2.0" || !v.AtLeast(2, 2) {
				t.Errorf("got version %q, want 2.2.0", written)
			}
			return err
		}, nil},
		{"list while it runs", func(ctx context.Context) error {
			i, err := d.info(ctx, "v1")
			if i.Status != stateRunning || i.Type != typeQEMU || i.Dir == "" {
				t.Errorf("got %+v, want what runs", i)
			}
			return err
		}, nil},
		{"create what is there", run(d.tool, "create", "--tty=false", "--name=v1", "/srv/vm/t.yaml"), fs.ErrExist},
		{"shell that fails", shell("out\n", "sh", "-c", "echo out; echo err >&2; exit 7"), cli.ErrFailed},
		{"shell with odd words", shell("a b\nc'd\n$HOME\n*\n", "printf", "%s\n", "a b", "c'd", "$HOME", "*"), nil},
		{"shell that takes its time", shell("late\n", "sh", "-c", "sleep 1; echo late"), nil},
		{"snapshot", func(ctx context.Context) error { return d.save(ctx, "v1", "live") }, nil},
		{"restore", run(d.tool, "snapshot", "apply", "v1", "--tag", "live"), nil},
		{"restore what is not there, exit code 0", run(d.tool, "snapshot", "apply", "v1", "--tag", "nope"), fs.ErrNotExist},
		{"clone what runs", run(d.tool, "clone", "v1", "v2", "--tty=false"), cli.ErrState},
		{"delete what runs", run(d.tool, "delete", "v1"), cli.ErrState},
		{"edit what runs", run(d.tool, "edit", "v1", "--tty=false", "--set", ".cpus=1"), cli.ErrState},
		{"stop, and list when it is off", func(ctx context.Context) error { return d.stop(ctx, "v1") }, nil},
		{"stop what is off", run(d.tool, "stop", "v1"), cli.ErrState},
		{"shell of what is off", run(d.inside, "shell", "--workdir", "/", "v1", "true"), cli.ErrState},
		{"clone", run(d.tool, "clone", "v1", "v2", "--start=false", "--tty=false"), nil},
		{"clone to what is there", run(d.tool, "clone", "v1", "v2", "--start=false", "--tty=false"), fs.ErrExist},
		{"delete", run(d.tool, "delete", "-f", "v1"), nil},
		{"delete what is not there, exit code 0", run(d.tool, "delete", "-f", "v1"), fs.ErrNotExist},
	} {
		if err := c.do(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
	}
}

// TestTranscriptsOfLives goes through what machines can, call by call, with QEMU
// and without.
func TestTranscriptsOfLives(t *testing.T) {
	for _, kind := range []string{typeQEMU, typeVZ} {
		t.Run(kind, func(t *testing.T) {
			ctx := t.Context()
			d := replayed(t, "life-"+kind)
			v, err := d.Launch(ctx, spec(t, "m"))
			if err != nil {
				t.Fatal(err)
			}
			m := v.(*machine)
			if err := m.Snapshot(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			if err := m.Restore(ctx, "a"); err != nil {
				t.Fatal(err)
			}
			fork, err := m.Fork(ctx, "a", spec(t, "f"))
			if kind == typeQEMU {
				if !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("fork: got %v, want errors.ErrUnsupported", err)
				}
			} else if err := errors.Join(err, fork.Close()); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(m.Close(), m.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTranscriptsOfFailures proves what each answer of a Lima that fails is taken
// for.
func TestTranscriptsOfFailures(t *testing.T) {
	probe := func(t *testing.T, d *driver) error { _, err := d.Probe(t.Context()); return err }
	launch := func(t *testing.T, d *driver) error { _, err := d.Launch(t.Context(), spec(t, "m")); return err }
	adopt := func(t *testing.T, d *driver) error {
		_, err := d.Adopt(t.Context(), "my.own", spec(t, "m"))
		return err
	}
	lie := func(t *testing.T, d *driver) error {
		m, err := d.Launch(t.Context(), spec(t, "m"))
		if err != nil {
			t.Fatal(err)
		}
		return errors.Join(m.(*machine).Snapshot(t.Context(), "a"), m.Close())
	}
	unavailable, boot := (*vm.UnavailableError)(nil), (*vm.BootError)(nil)
	for name, c := range map[string]struct {
		do   func(*testing.T, *driver) error
		want error // matched by errors.Is
		as   any   // or by errors.As
	}{
		"root":            {probe, nil, &unavailable},
		"no-such-machine": {adopt, fs.ErrNotExist, nil},
		"name-taken":      {launch, fs.ErrExist, nil},
		"no-space":        {launch, cli.ErrNoSpace, nil},
		"no-template":     {launch, fs.ErrNotExist, nil},
		"no-tools":        {launch, cli.ErrNoTools, nil},
		"localised":       {launch, cli.ErrFailed, nil},
		"timed-out":       {launch, errBoot, &boot},
		"exit-0":          {lie, cli.ErrFailed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.do(t, replayed(t, name))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || c.as != nil && !errors.As(err, c.as) {
				t.Errorf("got %v, want %v, a %T", err, c.want, c.as)
			}
			t.Logf("it says: %v", err)
		})
	}
}
