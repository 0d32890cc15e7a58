package incus

import (
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

// replayed returns a driver whose client is a transcript, TOOL-WHAT.
func replayed(t *testing.T, name string) *driver {
	t.Helper()
	p := &player{t: t}
	tool, _, _ := strings.Cut(name, "-")
	p.host = standin.New(t, tool, standin.Replay(t, filepath.Join("testdata", name+".jsonl")))
	p.alone(tool)
	return p.driver(t)
}

// transcribed is the spec with which transcripts were recorded.
func transcribed(t *testing.T, name string) vm.Spec {
	spec := standInSpec(t, name)
	spec.Image, spec.Memory, spec.Network.Mode = vm.Image{Name: "local:debian/12"}, 256<<20, vm.NetworkNone
	return spec
}

// TestTranscriptOfALife goes through everything that a machine can, call by call.
func TestTranscriptOfALife(t *testing.T) {
	for tool, want := range map[string]vm.Usage{
		"incus": {CPU: 542621639 * time.Nanosecond, Memory: 53280768, PID: 215},
		"lxc":   {CPU: 621345294 * time.Nanosecond, Memory: 53358592, PID: 202},
	} {
		t.Run(tool, func(t *testing.T) { live(t, tool, want) })
	}
}

func live(t *testing.T, tool string, want vm.Usage) {
	ctx := t.Context()
	spec := transcribed(t, "m")
	spec.Network.Mode = vm.NetworkOpen
	v, err := replayed(t, tool+"-life").Launch(ctx, spec)
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
		{"unplug", func() error { return m.SetLink(ctx, false) }},
		{"plug in", func() error { return m.SetLink(ctx, true) }},
		{"fork", func() (err error) { fork, err = m.Fork(ctx, "a", transcribed(t, "f")); return err }},
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
	if u != want {
		t.Errorf("usage: got %+v, want %+v", u, want)
	}
}

// TestTranscriptsOfFailures proves what each answer of a server that fails is
// taken for.
func TestTranscriptsOfFailures(t *testing.T) {
	probe := func(t *testing.T, d *driver) error { _, err := d.Probe(t.Context()); return err }
	launch := func(t *testing.T, d *driver) error { _, err := d.Launch(t.Context(), transcribed(t, "m")); return err }
	named := func(name, image string) func(*testing.T, *driver) error {
		return func(t *testing.T, d *driver) error {
			spec := transcribed(t, name)
			spec.Image.Name = image
			_, err := d.Launch(t.Context(), spec)
			return err
		}
	}
	adopt := func(t *testing.T, d *driver) error {
		_, err := d.Adopt(t.Context(), "my-own", transcribed(t, "n"))
		return err
	}
	for name, c := range map[string]struct {
		do   func(*testing.T, *driver) error
		want error
	}{
		"daemon-down": {probe, cli.ErrDaemon}, "no-rights": {probe, fs.ErrPermission},
		"name-taken": {launch, fs.ErrExist}, "no-image": {named("n", "local:no/such"), fs.ErrNotExist},
		"no-such-machine": {adopt, fs.ErrNotExist}, "no-space": {named("n", "local:debian/12"), cli.ErrNoSpace},
		"daemon-dies": {named("dies", "local:debian/12"), cli.ErrDaemon}, "deleted": {deletedMeanwhile, fs.ErrNotExist},
	} {
		for _, tool := range []string{"incus", "lxc"} {
			t.Run(tool+"-"+name, func(t *testing.T) { fails(t, tool+"-"+name, c.do, c.want) })
		}
	}
	for name, want := range map[string]error{
		"localised": cli.ErrFailed, "exit-0": fs.ErrNotExist, "untrusted": fs.ErrPermission, "no-json": nil,
	} {
		t.Run(name, func(t *testing.T) { fails(t, "incus-"+name, launch, want) })
	}
}

// fails does something, which must fail for that reason; nil is any.
func fails(t *testing.T, transcript string, do func(*testing.T, *driver) error, want error) {
	if err := do(t, replayed(t, transcript)); err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	} else {
		t.Log(err)
	}
}

// deletedMeanwhile takes a snapshot of a machine that somebody deletes.
func deletedMeanwhile(t *testing.T, d *driver) error {
	m, err := d.Launch(t.Context(), transcribed(t, "m"))
	if err != nil {
		t.Fatal(err)
	}
	err = m.(vm.Snapshotter).Snapshot(t.Context(), "a")
	if closed := m.Close(); closed != nil {
		t.Errorf("Close: got %v, want nil: there is nothing left", closed)
	}
	return err
}

// TestTranscriptOfMissingTools proves that a virtual machine whose image lacks
// the agent of Incus does not come up, and what to do about it.
func TestTranscriptOfMissingTools(t *testing.T) {
	d := replayed(t, "incus-no-tools")
	d.patience = 3 * time.Second
	_, err := d.Launch(t.Context(), transcribed(t, "m"))
	var boot *vm.BootError
	if !errors.As(err, &boot) || !errors.Is(err, cli.ErrNoTools) || !strings.Contains(err.Error(), "images:debian/12") {
		t.Errorf("got %v, want a *vm.BootError that says what has the agent", err)
	}
}
