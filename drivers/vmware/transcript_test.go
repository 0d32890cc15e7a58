package vmware

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// told returns a driver that hears what a transcript says. What vmrun does beside
// talking, and be it to a guest, happens when the transcript says that it did.
func told(t *testing.T, file string) *driver {
	t.Helper()
	play := standin.Replay(t, filepath.Join("testdata", file))
	s := &studio{t: t, kind: "ws"}
	s.host = standin.New(t, "vmrun", func(c *standin.Call) int {
		code := play(c)
		if code == 0 {
			quiet := *c
			quiet.Stdout, quiet.Stderr = &strings.Builder{}, &strings.Builder{}
			if got := s.play(&quiet); got != 0 {
				t.Errorf("%q: the transcript says 0, the stand-in %d", c.Args, got)
			}
		}
		return code
	})
	return New(cli.Config{Home: t.TempDir(), Agents: standin.AgentProgram}).(*driver)
}

// transcriptSpec is the launch that the transcript is of.
func transcriptSpec(t *testing.T) vm.Spec {
	t.Helper()
	return vm.Spec{Name: "one", Owner: "transcript", Dir: t.TempDir(), Image: image(t), CPUs: 2, Memory: 512 << 20,
		Disk: 64 << 20, Network: vm.Network{Mode: vm.NetworkOpen}}
}

// TestTranscriptLife is a machine's whole life.
func TestTranscriptLife(t *testing.T) {
	d := told(t, "life.jsonl")
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

// TestDiskIsADisk proves, with another program that knows VMware's disks, that a
// template's disk is one, with the image's bytes.
func TestDiskIsADisk(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		drivertest.Skip(t, "qemu", "qemu-img is not installed")
	}
	dir := t.TempDir()
	s := transcriptSpec(t)
	s.Disk = 0
	if err := writeDisk(t.Context(), dir, s); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("qemu-img", "compare", "-f", "vmdk", "-F", "raw", filepath.Join(dir, diskName), s.Image.Disk).CombinedOutput()
	if err != nil {
		t.Errorf("qemu-img compare: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, diskName))
	if err != nil || !strings.Contains(string(text), "RW 2048 FLAT") {
		t.Errorf("got %q, %v; want 2048 sectors", text, err)
	}
}

// TestConfigKeepsWhatItDoesNotKnow proves that editing a description changes what
// it says and nothing else, and that no value ends its line.
func TestConfigKeepsWhatItDoesNotKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.vmx")
	before := "#!/usr/bin/vmware\r\n.encoding = \"UTF-8\"\r\nMemSize = \"256\"\r\nunknown.key = \"x|22y\"\r\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	evil := "a\"\nisolation.x = \"FALSE|"
	if err := edit(path, "memsize", "512", "displayName", evil); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path)
	if err != nil || len(c) != 5 {
		t.Fatalf("got %q, %v; want five lines", c, err)
	}
	for k, want := range map[string]string{"MEMSIZE": "512", "displayname": evil, "unknown.key": `x"y`, "isolation.x": ""} {
		if got := c.get(k); got != want {
			t.Errorf("%s: got %q, want %q", k, got, want)
		}
	}
}
