package images_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"assay/drivers/qemu"
	"assay/guest"
	"assay/images"
	"assay/images/imagetest"
	"assay/vm"
)

// real skips a test that needs Debian's mirror, root and QEMU, unless
// ASSAY_MUST_RUN names qemu: then whatever is missing fails it.
func real(t *testing.T) {
	t.Helper()
	if !slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "qemu") {
		t.Skip("it downloads packages and boots machines for minutes; ASSAY_MUST_RUN=qemu runs it")
	}
}

// buildAgent compiles the agent.
func buildAgent(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "assay-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "assay/cmd/assay-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, msg)
	}
	agent, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

func realDriver() vm.Driver { return qemu.New(qemu.Config{BootDeadline: 20 * time.Minute}) }

func openStore(t *testing.T, dir string) *images.Store {
	t.Helper()
	s, err := images.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// phases logs when each phase of a build begins.
func phases(t *testing.T) func(string) {
	start := time.Now()
	return func(p string) { t.Logf("%6.1f s  %s", time.Since(start).Seconds(), p) }
}

// inGuest boots an image and hands over its agent.
func inGuest(t *testing.T, img vm.Image, do func(*guest.Client)) {
	t.Helper()
	dir := t.TempDir()
	m, err := realDriver().Launch(t.Context(), vm.Spec{Name: "m", Owner: "test", Dir: dir, Image: img, CPUs: 2, Memory: 1 << 30, Cold: true, Network: vm.Network{Mode: vm.NetworkNone}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	do(c)
	if t.Failed() {
		text, err := m.(vm.Consoler).Console()
		t.Logf("the end of the console (%v):\n%q", err, text[max(0, len(text)-8<<10):])
	}
}

// sh runs a line as the test user; it must succeed. A guest that hangs does not
// count the minutes of a command: the test does.
func sh(t *testing.T, c *guest.Client, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute)
	defer cancel()
	var out bytes.Buffer
	exit, err := c.Exec(ctx, guest.Command{Shell: line, Timeout: 5 * time.Minute}, nil, &out, &out)
	if err != nil || exit.Code != 0 {
		t.Errorf("%s: got %+v, %v: %s", line, exit, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

// TestDebianIsBuilt proves what a built image promises: it boots, the test user
// may become root, the pool's packages install without a network, a new agent
// costs no new packages, and the same packages make the same disk.
func TestDebianIsBuilt(t *testing.T) {
	real(t)
	s, agent := openStore(t, t.TempDir()), buildAgent(t)
	opt := images.BuildOptions{Agent: agent, Driver: realDriver(), Scratch: t.TempDir(), Progress: phases(t)}
	img, err := s.Build(t.Context(), "debian-12", opt)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := s.Record("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	if !rec.Booted || rec.OS.ID != "debian" || rec.OS.Version != "12" || rec.OS.Kernel == "" || len(rec.Packages) < 100 || img.Manifest == "" {
		t.Errorf("record: got %+v with %d packages, want a booted debian 12 with a manifest", rec.OS, len(rec.Packages))
	}
	inGuest(t, img, func(c *guest.Client) {
		if got := sh(t, c, "id -u; pwd; sudo -n id -u"); got != "1000\n/home/tester\n0" {
			t.Errorf("test user: got %q", got)
		}
		sh(t, c, "! command -v jq && sudo apt-get install -y jq tree && echo '{}' | jq -e . && tree --version")
		sh(t, c, "test ! -e /.assay && ! command -v busybox")
		sh(t, c, "test $(df --output=size -BG / | tail -1 | tr -dc 0-9) -ge 7")
	})
	t.Run("at once when it is there", func(t *testing.T) {
		start := time.Now()
		again, err := s.Build(t.Context(), "debian-12", images.BuildOptions{Agent: agent, Progress: func(p string) { t.Errorf("got phase %q, want none", p) }})
		if err != nil || again != img || time.Since(start) > 5*time.Second {
			t.Errorf("got %+v, %v after %v, want the same image at once", again, err, time.Since(start))
		}
	})
	t.Run("another agent", func(t *testing.T) {
		var seen []string
		other, err := s.Build(t.Context(), "debian-12", images.BuildOptions{Agent: append(slices.Clone(agent), 0), Progress: func(p string) { seen = append(seen, p) }})
		if err != nil || other.Digest == img.Digest || slices.Contains(seen, "downloading packages") {
			t.Errorf("got %s, %v by %q, want another disk from the packages that are kept", other.Digest, err, seen)
		}
		if _, err := os.Stat(img.Disk); err != nil {
			t.Errorf("the image before: %v, want it still there", err)
		}
	})
	t.Run("the same packages", func(t *testing.T) {
		again, err := s.Build(t.Context(), "debian-12", images.BuildOptions{Agent: agent, Fresh: true, Progress: phases(t)})
		if err != nil {
			t.Fatal(err)
		}
		now, err := s.Record("debian-12")
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(now.Packages, rec.Packages) && again.Digest != img.Digest {
			t.Errorf("got %s, then %s, want the same disk from the same packages", img.Digest, again.Digest)
		}
	})
}

// TestCancelledBuildLeavesNothing stops a build in the middle of installing.
func TestCancelledBuildLeavesNothing(t *testing.T) {
	real(t)
	dir := t.TempDir()
	s := openStore(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := s.Build(ctx, "debian-12", images.BuildOptions{Agent: []byte("agent"), Progress: func(p string) {
		if p == "installing packages" {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	wantNothing(t, s)
}

// killedBuilder is set in the child of TestKilledBuildLeavesNothing.
const killedBuilder = "ASSAY_TEST_BUILD_IN"

// TestKilledBuildLeavesNothing kills the builder with a signal that it cannot
// catch; its tools must end by themselves, and the next build cleans up.
func TestKilledBuildLeavesNothing(t *testing.T) {
	if dir := os.Getenv(killedBuilder); dir != "" {
		s := openStore(t, dir)
		s.Build(t.Context(), "debian-12", images.BuildOptions{Agent: []byte("agent"), Progress: func(p string) {
			os.WriteFile(filepath.Join(dir, "phase"), []byte(p), 0o644)
		}})
		return
	}
	real(t)
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledBuildLeavesNothing$")
	cmd.Env = append(os.Environ(), killedBuilder+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the build installs packages", func() bool {
		p, _ := os.ReadFile(filepath.Join(dir, "phase"))
		return string(p) == "installing packages"
	})
	cmd.Process.Kill()
	cmd.Wait()
	until(t, "the build's tools have ended", func() bool { return len(processesNaming(t, dir)) == 0 })
	time.Sleep(6 * time.Second) // a lock must be that old before it is taken for a dead build's
	s := openStore(t, dir)
	if _, err := s.Trim(time.Hour); err != nil {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "phase"))
	wantNothing(t, s)
}

// wantNothing checks that a store is as if it had never built.
func wantNothing(t *testing.T, s *images.Store) {
	t.Helper()
	filepath.WalkDir(s.Dir(), func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.Dir(), path)
		if err != nil || (strings.Contains(rel, "/") && filepath.Dir(rel) != "locks") {
			t.Errorf("left behind: %s (%v)", rel, err)
			return fs.SkipAll
		}
		return nil
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(s.Dir())) {
		t.Errorf("mounts: got one in the store, or %v", err)
	}
	if p := processesNaming(t, s.Dir()); len(p) > 0 {
		t.Errorf("still running: %q", p)
	}
}

// processesNaming returns the command lines that contain text.
func processesNaming(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if line, _ := os.ReadFile(f); bytes.Contains(line, []byte(text)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it never did", what)
		}
	}
}

// TestCloudImageIsImported imports disks that know nothing of assay, one for
// each firmware.
func TestCloudImageIsImported(t *testing.T) {
	real(t)
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) { importCloudImage(t, firmware) })
	}
}

func importCloudImage(t *testing.T, firmware string) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "cloud.raw")
	cloud := imagetest.Options{Firmware: firmware}
	if firmware == "bios" {
		cloud.Packages = []string{"openssh-server"} // for clonesDiffer
	}
	if err := imagetest.CloudDisk(t.Context(), disk, cloud); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, filepath.Join(dir, "images"))
	opt := images.ImportOptions{Agent: buildAgent(t), Driver: realDriver(), Scratch: dir, Progress: phases(t)}
	img, err := s.Import(t.Context(), disk, opt)
	if err != nil {
		t.Fatal(err)
	}
	if img.Name != "debian-12" || img.OS != "debian" || img.Version != "12" || img.Firmware != firmware || img.Kernel != "" || img.Manifest == "" {
		t.Errorf("got %+v, want debian 12 that boots itself, named by its guest", img)
	}
	if _, err := s.Import(t.Context(), disk, images.ImportOptions{Name: "debian-12", Agent: opt.Agent, Driver: opt.Driver}); err == nil || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("the name again: got %v, want it refused", err)
	}
	again, err := s.Build(t.Context(), "debian-12", images.BuildOptions{Agent: append(slices.Clone(opt.Agent), 0)})
	if err != nil || again.Digest != img.Digest || again.Seed == "" {
		t.Fatalf("another agent: got %+v, %v, want the same disk with a new seed", again, err)
	}
	inGuest(t, again, func(c *guest.Client) {
		if got := sh(t, c, "id -un; sudo -n id -u"); got != "tester\n0" {
			t.Errorf("test user: got %q", got)
		}
		if firmware == "bios" {
			unseen(t.Context(), t, c)
		}
	})
	if firmware == "bios" {
		clonesDiffer(t, again)
		overSerial(t, disk, opt.Agent)
	}
}

// clonesDiffer proves that two clones of one saved guest, of an image that is not
// ours, are not each other, and that both differ from what was saved.
func clonesDiffer(t *testing.T, img vm.Image) {
	d := qemu.New(qemu.Config{BootDeadline: 20 * time.Minute, TemplateDir: t.TempDir(), TemplateLimit: 8 << 30})
	told := map[string]string{}
	for _, name := range []string{"one", "two"} {
		spec := vm.Spec{Name: name, Owner: "twins", Dir: t.TempDir(), Image: img, CPUs: 1, Memory: 512 << 20, Network: vm.Network{Mode: vm.NetworkOpen}}
		if _, ready := d.(vm.Templater).Template(t.Context(), spec); ready != (name == "two") {
			t.Errorf("%s: a template is there: got %v", name, ready)
		}
		m, err := d.Launch(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		c := m.(guest.Greeter).Greeted()
		if c == nil {
			t.Fatalf("%s: got no greeted line, want a clone", name)
		}
		defer c.Close()
		for _, line := range []string{
			"cat /etc/ssh/ssh_host_ed25519_key.pub", "cat /etc/ssh/ssh_host_rsa_key.pub", "cat /sys/class/net/e*/address", "ip -4 -o addr show scope global | grep -o 'inet [0-9.]*'",
			"hostname", "cat /etc/machine-id", "cat /proc/sys/kernel/random/uuid", "head -c 1000 /dev/urandom | sha256sum",
		} {
			got := sh(t, c, line)
			if got == "" || told[line] == got {
				t.Errorf("%s: both clones say %q", line, got)
			}
			told[line] = got
		}
		if got := sh(t, c, "date +%s"); !near(got, time.Now()) {
			t.Errorf("date: got %s, want the host's", got)
		}
	}
}

// near reports whether a Unix time is that of the host, give or take a busy
// minute.
func near(seconds string, now time.Time) bool {
	n, err := strconv.ParseInt(seconds, 10, 64)
	return err == nil && time.Unix(n, 0).Sub(now).Abs() < time.Minute
}
