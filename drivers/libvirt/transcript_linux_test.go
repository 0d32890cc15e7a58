package libvirt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/vm"
)

// played returns the driver on a user's session whose virsh is a transcript, and
// whose qemu-img makes empty files.
func played(t *testing.T, name string) *driver {
	t.Helper()
	h := standin.New(t, "virsh", standin.Replay(t, filepath.Join("testdata", name+".jsonl")))
	h.Tool("qemu-img", func(c *standin.Call) int {
		if err := os.WriteFile(c.Args[len(c.Args)-2], nil, 0o600); err != nil {
			return c.Fail(1, "qemu-img: %v", err)
		}
		return 0
	})
	t.Setenv("ASSAY_ACCEL", accelTCG)
	return New(cli.Config{}).(*driver).with("qemu:///session")
}

// small is a machine on an image that has nothing in it.
func small(t *testing.T) vm.Spec {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Spec{
		Name: "m", Owner: "o", Dir: filepath.Join(t.TempDir(), "m"), CPUs: 1, Memory: 128 << 20,
		Image: vm.Image{Name: "none", Disk: disk, Format: "raw", Size: 1 << 20},
	}
}

// TestTranscripts replays what libvirt says when something is wrong: the error is
// of the right kind, and what was begun is taken back.
func TestTranscripts(t *testing.T) {
	probe := func(ctx context.Context, d *driver, _ vm.Spec) error { _, err := d.Probe(ctx); return err }
	launch := func(ctx context.Context, d *driver, s vm.Spec) error { _, err := d.Launch(ctx, s); return err }
	adopt := func(name string) func(context.Context, *driver, vm.Spec) error {
		return func(ctx context.Context, d *driver, s vm.Spec) error { _, err := d.Adopt(ctx, name, s); return err }
	}
	for name, tc := range map[string]struct {
		do   func(context.Context, *driver, vm.Spec) error
		kind error
		text string
	}{
		"daemon-down":     {probe, nil, startDaemon},
		"no-permission":   {probe, nil, "usermod -aG libvirt"},
		"no-such-machine": {adopt("ghost"), fs.ErrNotExist, "ghost"},
		"name-taken":      {launch, fs.ErrExist, "already exists"},
		"no-disk":         {launch, fs.ErrNotExist, "Cannot access storage file"},
		"no-space":        {launch, cli.ErrNoSpace, "No space left"},
		"no-memory":       {launch, cli.ErrNoMemory, "cannot set up guest memory"},
		"localised":       {launch, cli.ErrFailed, "Fehler"},
		"exit-0":          {launch, nil, "QEMU did not start"},
		"no-tools":        {adopt("mine"), cli.ErrNoTools, "install qemu-guest-agent"},
		"no-channel":      {adopt("mine"), errors.ErrUnsupported, "org.qemu.guest_agent.0"},
		"saved":           {adopt("mine"), cli.ErrState, "virsh start mine"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := small(t)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("install qemu-guest-agent in the guest"))
			defer cancel()
			err := tc.do(ctx, played(t, name), spec)
			if err == nil || tc.kind != nil && !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v and %q", err, tc.kind, tc.text)
			}
			if _, err := os.Stat(spec.Dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the machine's folder: got %v, want it gone", err)
			}
		})
	}
}

// A host without libvirt is told what to install.
func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := New(cli.Config{}).Probe(t.Context())
	if !isUnavailable(err, "apt-get install libvirt-clients") {
		t.Errorf("got %v, want what to install", err)
	}
}

// A virsh that hangs ends with who waits for it.
func TestHangingTool(t *testing.T) {
	standin.New(t, "virsh", (*standin.Call).Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := New(cli.Config{}).(*driver).with("qemu:///session").Probe(ctx)
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("got %v after %v, want an end", err, time.Since(began))
	}
}

// An answer that is none is an error, and not a version.
func TestVersion(t *testing.T) {
	for out, want := range map[string]string{
		"Using library: libvirt 9.0.0\nRunning hypervisor: QEMU 7.2.22\n":                 "libvirt 9.0.0, QEMU 7.2.22",
		"Using library: libvirt 11.3.0\nUsing API: QEMU\nRunning hypervisor: QEMU 10.0.2": "libvirt 11.3.0, QEMU 10.0.2",
		"Using library: libvirt 9.0.0\nRunning hypervisor: Test 2\n":                      "",
		"": "",
	} {
		if got, err := parseVersion(out); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", out, got, err, want)
		}
	}
}

// An older QEMU's picture becomes a PNG; what is no picture, an error.
func TestOldScreens(t *testing.T) {
	if data, err := toPNG([]byte("P6\n2 1\n255\n\x01\x02\x03\x04\x05\x06")); err != nil || string(data[1:4]) != "PNG" {
		t.Errorf("got %.20q, %v, want a PNG", data, err)
	}
	for _, bad := range []string{"", "P5\n2 1\n255\n", "P6\n2 1\n65535\n\x01\x02\x03\x04\x05\x06", "P6\n2 2\n255\n\x01\x02\x03", "P6\n99999999 1\n255\n", "P6\n-1 -1\n255\n"} {
		if _, err := toPNG([]byte(bad)); err == nil {
			t.Errorf("%q is a picture", bad)
		}
	}
}

// What the guest's console says is kept to its end, however long it is.
func TestTapeIsBounded(t *testing.T) {
	var tp tape
	for range 64 {
		tp.Write(make([]byte, 100<<10))
	}
	tp.Write([]byte("the end"))
	if got := tp.bytes(); len(got) != maxConsole || !strings.HasSuffix(string(got), "the end") || cap(tp.buf) > 4*maxConsole {
		t.Errorf("got %d bytes, in %d, want the last MiB", len(got), cap(tp.buf))
	}
	if got := lastWords([]byte("x\nKernel panic - not \x1b[31msyncing\nmore")); got != "the guest's kernel panicked: Kernel panic - not [31msyncing" {
		t.Errorf("got %q", got)
	}
}

// What a user's machine cannot do, is known of its description.
func TestWhatUsersMachinesLack(t *testing.T) {
	for text, want := range map[string]vm.Capability{
		"<domain><devices><disk device='disk'><driver type='raw'/></disk></devices></domain>":                               vm.CapSnapshot,
		"<domain><devices><disk device='cdrom'><driver type='raw'/><readonly/></disk></devices></domain>":                   vm.CapMemory,
		"<domain><os><loader>/x</loader></os><devices><disk device='disk'><driver type='qcow2'/></disk></devices></domain>": vm.CapSnapshot,
		"<domain><devices><disk device='disk'><driver type='qcow2'/></disk><interface/><interface/></devices></domain>":     vm.CapNetwork,
		"<domain><devices><disk device='disk'><driver type='qcow2'/></disk></devices></domain>":                             vm.CapScreenshot,
	} {
		k, err := parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if instead := k.lacks()[want]; instead == "" {
			t.Errorf("%s: %q is not lacking", text, want)
		}
	}
	k, _ := parse([]byte("<domain><devices><disk device='disk'><driver type='qcow2'/></disk><interface/><video/></devices></domain>"))
	if lacks := k.lacks(); lacks[vm.CapSnapshot] != "" || lacks[vm.CapNetwork] != "" || lacks[vm.CapScreenshot] != "" {
		t.Errorf("got %v, want snapshots, network and screen", lacks)
	}
	if _, err := parse([]byte("garbage")); err == nil {
		t.Error("garbage is a domain")
	}
}
