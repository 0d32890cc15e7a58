package multipass

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// replayed returns a driver whose Multipass is a transcript.
func replayed(t *testing.T, name string) *driver {
	t.Helper()
	standin.New(t, "multipass", standin.Replay(t, filepath.Join("testdata", name+".jsonl")))
	agent := func(string) ([]byte, error) { return []byte("agent of a test"), nil }
	return New(cli.Config{Home: t.TempDir(), Agents: agent}).(*driver)
}

// TestTranscriptOfALife goes through everything that a machine can, call by call.
func TestTranscriptOfALife(t *testing.T) {
	ctx := t.Context()
	v, err := replayed(t, "life").Launch(ctx, spec(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	m := v.(*machine)
	var fork vm.Machine
	var u vm.Usage
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"snapshot", func() error { return m.Snapshot(ctx, "a") }},
		{"restore", func() error { return m.Restore(ctx, "a") }},
		{"fork", func() (err error) { fork, err = m.Fork(ctx, "a", spec(t, "f")); return err }},
		{"suspend", func() error { return m.Suspend(ctx) }},
		{"resume", func() error { return m.Resume(ctx) }},
		{"usage", func() (err error) { u, err = m.Usage(ctx); return err }},
		{"close the fork", func() error { return fork.Close() }},
		{"close", m.Close},
		{"close again", m.Close},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
	}
	if want := (vm.Usage{CPU: 22050 * time.Millisecond, Memory: 147528 << 10, Disk: 1932735284}); u != want {
		t.Errorf("usage: got %+v, want %+v", u, want)
	}
}

// TestTranscriptsOfFailures proves what each answer of a Multipass that fails is
// taken for.
func TestTranscriptsOfFailures(t *testing.T) {
	probe := func(t *testing.T, d *driver) error { _, err := d.Probe(t.Context()); return err }
	launch := func(t *testing.T, d *driver) error { _, err := d.Launch(t.Context(), spec(t, "m")); return err }
	adopt := func(t *testing.T, d *driver) error {
		_, err := d.Adopt(t.Context(), "my-own", spec(t, "m"))
		return err
	}
	unavailable, boot := (*vm.UnavailableError)(nil), (*vm.BootError)(nil)
	for name, c := range map[string]struct {
		do   func(*testing.T, *driver) error
		want error // matched by errors.Is
		as   any   // or by errors.As
	}{
		"daemon-down":           {probe, nil, &unavailable},
		"daemon-dies":           {launch, cli.ErrDaemon, nil},
		"daemon-dies-localised": {launch, cli.ErrDaemon, nil},
		"no-such-machine":       {adopt, fs.ErrNotExist, nil},
		"deleted-machine":       {adopt, fs.ErrNotExist, nil},
		"name-taken":            {launch, fs.ErrExist, nil},
		"no-space":              {launch, cli.ErrNoSpace, nil},
		"no-image":              {launch, fs.ErrNotExist, nil},
		"no-tools":              {launch, cli.ErrNoTools, nil},
		"localised":             {launch, cli.ErrFailed, nil},
		"timed-out":             {launch, errBoot, &boot},
		"timed-out-client":      {launch, errBoot, &boot},
		"exit-0":                {launch, fs.ErrNotExist, nil},
		"starting":              {launch, cli.ErrState, nil},
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
