package virtualbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// told returns a driver that hears what a transcript says, and the state folder.
// What VBoxManage does beside talking, and be it to a guest, happens when the
// transcript says that it did.
func told(t *testing.T, file string) (*driver, string) {
	t.Helper()
	home := t.TempDir()
	play := standin.Replay(t, filepath.Join("testdata", file))
	var host *standin.Host
	var g *standin.Guest
	host = standin.New(t, "VBoxManage", func(c *standin.Call) int {
		code := play(c)
		if code != 0 {
			return code
		}
		if err := happens(g, c.Args); err != nil {
			t.Errorf("%q: %v", c.Args, err)
		}
		return 0
	})
	var err error
	if g, err = host.Create("one", standin.Size{}); err != nil {
		t.Fatal(err)
	}
	return New(cli.Config{Home: home, Agents: standin.AgentProgram}).(*driver), home
}

// happens does to the guest, and on the disk, what a call would have done.
func happens(g *standin.Guest, args []string) error {
	last := args[len(args)-1]
	switch strings.Join(args[:1], "") + "/" + args[min(2, len(args)-1)] {
	case "convertfromraw/" + args[min(2, len(args)-1)]:
		return os.WriteFile(args[2], nil, 0o600)
	case "modifyvm/--uartmode1":
		set(g, "socket", last)
	case "storageattach/--storagectl":
		if args[len(args)-3] == "dvddrive" {
			return g.Seed(last)
		}
	case "startvm/--type":
		if err := g.Start(); err != nil {
			return err
		}
		return g.Listen(get[string](g, "socket"))
	case "controlvm/poweroff":
		return g.Kill()
	case "controlvm/pause":
		return g.Pause()
	case "controlvm/resume":
		return g.Resume()
	case "controlvm/screenshotpng":
		return os.WriteFile(last, g.Screenshot(), 0o600)
	}
	return nil
}

// transcriptSpec is the launch that the transcripts are of.
func transcriptSpec(t *testing.T) vm.Spec {
	t.Helper()
	return vm.Spec{Name: "one", Owner: "transcript", Dir: t.TempDir(), Image: image(t), CPUs: 2, Memory: 512 << 20, Disk: 64 << 20}
}

// TestTranscriptWithoutModule launches as VirtualBox 7.2.22 answered where its
// kernel module was missing: everything is made, nothing starts, nothing is left.
func TestTranscriptWithoutModule(t *testing.T) {
	d, _ := told(t, "launch-without-module.jsonl")
	_, err := d.Launch(t.Context(), transcriptSpec(t))
	if err == nil || !strings.Contains(err.Error(), "terminated unexpectedly") || !strings.Contains(err.Error(), "vboxconfig") {
		t.Errorf("got %v, want VirtualBox's own words and what to do", err)
	}
	if names, err := d.place.Names(); err != nil || len(names) > 0 {
		t.Errorf("the driver's folder still has %q, %v", names, err)
	}
}

// TestTranscriptLife is a machine's whole life.
func TestTranscriptLife(t *testing.T) {
	d, _ := told(t, "life.jsonl")
	m, err := d.Launch(t.Context(), transcriptSpec(t))
	if err != nil {
		t.Fatal(err)
	}
	live(t, m)
}

// live does with a machine what can be done, each thing once.
func live(t *testing.T, m vm.Machine) {
	t.Helper()
	ctx, own := t.Context(), m.(*machine)
	steps := []struct {
		name string
		do   func() error
	}{
		{"snapshot", func() error { return own.Snapshot(ctx, "clean") }},
		{"link down", func() error { return own.SetLink(ctx, false) }},
		{"suspend", func() error { return own.Suspend(ctx) }},
		{"resume", func() error { return own.Resume(ctx) }},
		{"screenshot", func() error { _, err := own.Screenshot(ctx); return err }},
		{"restore", func() error { return own.Restore(ctx, "clean") }},
		{"close", own.Close},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}
