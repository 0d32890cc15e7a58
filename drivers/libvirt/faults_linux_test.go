package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/seed"
	"assay/vm"
)

// start launches a small machine that is closed with the test.
func start(t *testing.T, d *driver, name string) *machine {
	t.Helper()
	m, err := d.Launch(t.Context(), specOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m.(*machine)
}

func specOf(t *testing.T, name string) vm.Spec {
	t.Helper()
	return vm.Spec{
		Name: name, Owner: "test-" + newUUID()[:8], Dir: filepath.Join(t.TempDir(), name), Image: realImage(t), CPUs: 1, Memory: 512 << 20,
		Progress: func(phase string) { t.Logf("%s: %s", name, phase) },
	}
}

// libvirtd is killed while a machine runs: the line does not notice, what needs
// the daemon says that it is away, and after its return all goes on, restores
// included.
func TestDaemonKilledInTheMiddle(t *testing.T) {
	d, dm := systemDriver(t)
	m := start(t, d, "m")
	c := talk(t, m)
	sh(t, c, "echo before >/run/word")
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c = talk(t, m)
	if err := dm.kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	restart := func() {
		if err := dm.start(); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, c, "echo after >/run/word")
	sh(t, talk(t, m), "true") // even a new line
	if err := m.Snapshot(t.Context(), "b"); !errors.Is(err, cli.ErrDaemon) {
		t.Errorf("a snapshot without libvirtd: got %v, want cli.ErrDaemon", err)
	}
	if _, err := New(d.cfg).(*driver).with(dm.uri()).Probe(t.Context()); !isUnavailable(err, startDaemon) {
		t.Errorf("a probe without libvirtd: got %v, want what starts it", err)
	}
	if err := m.Restore(t.Context(), "b"); err == nil {
		t.Error("a snapshot that was not taken can be restored")
	}
	restart()
	if err := m.Restore(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, talk(t, m), "cat /run/word"); got != "before" {
		t.Errorf("after the daemon's return: got %q, want before", got)
	}
	if err := m.Snapshot(t.Context(), "b"); err != nil {
		t.Errorf("a second try: %v", err)
	}
}

// with returns the driver for another connection.
func (d *driver) with(uri string) *driver {
	d.uri = uri
	return d
}

func isUnavailable(err error, fix string) bool {
	missing, ok := errors.AsType[*vm.UnavailableError](err)
	return ok && strings.Contains(missing.Fix, fix)
}

// The daemon is killed while it restores a machine. What becomes of that, the
// caller is told; Close leaves nothing all the same, as soon as it is back.
func TestDaemonKilledWhileItRestores(t *testing.T) {
	d, dm := systemDriver(t)
	m := start(t, d, "m")
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Restore(t.Context(), "a") }()
	time.Sleep(300 * time.Millisecond)
	if err := dm.kill(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Logf("the restore: %v", <-done)
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	time.Sleep(time.Second) // the close finds nobody, and waits
	if err := dm.start(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	leftNothing(t, dm, m)
}

// leftNothing fails if anything of a machine is left.
func leftNothing(t *testing.T, dm *daemon, m *machine) {
	t.Helper()
	if _, err := virsh(dm.uri()).Run(t.Context(), "domstate", m.name); !missing(err) {
		t.Errorf("the domain: got %v, want fs.ErrNotExist", err)
	}
	left, err := exec.Command("sh", "-c", `ls -d "$@" 2>/dev/null; true`, "sh", m.dir, m.local, "/var/log/libvirt/qemu/"+m.name+".log").Output()
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %s, %v", left, err)
	}
	if out, err := exec.Command("pgrep", "-f", "guest="+m.name+",").Output(); err == nil {
		t.Errorf("processes are left: %s", out)
	}
}

// A domain that somebody deletes ends its machine's line with that word, and can
// be closed.
func TestDomainDeletedBehindOurBack(t *testing.T) {
	d, dm := systemDriver(t)
	for name, calls := range map[string][][]string{
		"destroyed": {{"destroy"}},
		"undefined": {{"undefine"}},
		"both":      {{"destroy"}, {"undefine", "--snapshots-metadata"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := start(t, d, name)
			c := talk(t, m)
			for _, call := range calls {
				if _, err := virsh(dm.uri()).Run(t.Context(), append(call, m.name)...); err != nil {
					t.Fatal(err)
				}
			}
			if name == "undefined" {
				sh(t, c, "true") // what is undefined runs on
			} else {
				<-c.Done()
				if why := c.Err().Error(); !strings.Contains(why, "the domain") {
					t.Errorf("the line says %q, want what became of the domain", why)
				}
				if err := m.Snapshot(t.Context(), "a"); err == nil {
					t.Error("a snapshot of nothing can be taken")
				}
				if conn, err := m.Dial(t.Context()); err == nil {
					conn.Close()
					t.Error("nothing can be dialled")
				}
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			leftNothing(t, dm, m)
		})
	}
}

// A guest that ends by itself is a *vm.StoppedError, with its last words if it had any.
func TestGuestEndsByItself(t *testing.T) {
	d, _ := systemDriver(t)
	for name, tc := range map[string]struct{ line, want string }{
		"off":   {"poweroff -f", "shut itself down"},
		"panic": {"echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", "Kernel panic - not syncing: sysrq"},
	} {
		t.Run(name, func(t *testing.T) {
			m := start(t, d, name)
			c := talk(t, m)
			go sendOff(c, tc.line)
			<-c.Done()
			stopped, ok := errors.AsType[*vm.StoppedError](c.Err())
			if !ok || !strings.Contains(stopped.How, tc.want) {
				t.Errorf("got %v, want a *vm.StoppedError with %q", c.Err(), tc.want)
			}
		})
	}
}

// A guest that panics as it boots is a *vm.BootError with its words, and leaves nothing.
func TestPanicIsABootError(t *testing.T) {
	d, _ := systemDriver(t)
	spec := specOf(t, "m")
	spec.Image.Initrd = "" // so that the kernel finds no disk
	_, err := d.Launch(t.Context(), spec)
	boot, ok := errors.AsType[*vm.BootError](err)
	if !ok || !strings.Contains(err.Error(), "anic") || !strings.Contains(string(boot.Console), "Linux version") {
		t.Errorf("got %v, want a *vm.BootError with the panic's words", err)
	}
	if n, err := d.Sweep(t.Context(), spec.Owner); n != 0 || err != nil {
		t.Errorf("sweep: got %d, %v, want 0", n, err)
	}
	if left, _ := filepath.Glob("/var/log/libvirt/qemu/" + cli.Name(spec.Owner, "") + "*"); len(left) > 0 {
		t.Errorf("logs are left: %v", left)
	}
}

// The open network has an address, and its cable can be pulled; a seed disk is
// where cloud-init looks for one.
func TestOpenNetworkAndSeed(t *testing.T) {
	t.Parallel()
	d, _ := systemDriver(t)
	spec := specOf(t, "open")
	spec.Image.Seed = filepath.Join(t.TempDir(), "seed.iso")
	if err := seed.Write(spec.Image.Seed, seed.Options{Agent: []byte("none"), ID: "x"}); err != nil {
		t.Fatal(err)
	}
	spec.Network.Mode = vm.NetworkOpen
	m, err := d.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c := talk(t, m)
	waitFor(t, "an address", func() bool { return strings.Contains(sh(t, c, "ip -4 addr show eth0 || true"), "10.0.2.") })
	if got := sh(t, c, "dd if=/dev/vdb bs=1 skip=32808 count=6 2>/dev/null"); got != "cidata" {
		t.Errorf("the seed disk's name: got %q, want cidata", got)
	}
	link := m.(*machine)
	if err := link.SetLink(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the cable to be out", func() bool { return strings.TrimSpace(sh(t, c, "cat /sys/class/net/eth0/carrier")) == "0" })
}

// The tiny guest that proves an accelerator says its word, and one that does not
// has an end.
func TestTinyGuest(t *testing.T) {
	d, dm := systemDriver(t)
	s, err := d.site(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.accel != accelTCG || s.detail == "" {
		t.Errorf("got %q because %q, want tcg with a reason: KVM is hidden here", s.accel, s.detail)
	}
	if err := s.runTinyGuest(t.Context(), accelTCG); err != nil {
		t.Error(err)
	}
	if err := s.runTinyGuest(t.Context(), accelKVM); err == nil {
		t.Error("KVM works where there is none")
	}
	r, err := virsh(dm.uri()).Run(t.Context(), "list", "--all", "--name")
	if err != nil || strings.Contains(r.Text(), cli.Name("probe", "")) {
		t.Errorf("domains: got %q, %v, want no tiny guest's", r.Text(), err)
	}
}

// A proof holds for one boot of the host and one libvirt.
func TestProofIsKept(t *testing.T) {
	p := proof{path: filepath.Join(t.TempDir(), "a", "proof"), Boot: "b", Version: "v"}
	if p.kept() {
		t.Error("a proof that nobody gave holds")
	}
	p.keep()
	if !p.kept() {
		t.Error("the proof does not hold")
	}
	for _, other := range []proof{{p.path, "b2", "v"}, {p.path, "b", "v2"}, {p.path + "x", "b", "v"}} {
		if other.kept() {
			t.Errorf("%+v: the proof of another holds", other)
		}
	}
	if err := os.WriteFile(p.path, []byte("{"), 0o600); err != nil || p.kept() {
		t.Errorf("a damaged proof holds, %v", err)
	}
}

// A template that does not load any more is thrown away, and the image booted.
func TestDamagedTemplate(t *testing.T) {
	d, _ := systemDriver(t)
	start(t, d, "first").Close()
	spec := specOf(t, "second")
	key, ready := d.Template(t.Context(), spec)
	if !ready {
		t.Fatal("there is no template after a launch")
	}
	disk := filepath.Join(homeOfTests(), "drivers", "libvirt", "kept", key, diskName)
	if err := os.Truncate(disk, 1<<20); err != nil {
		t.Fatal(err)
	}
	var phases []string
	spec.Progress = func(p string) { phases = append(phases, p) }
	m, err := d.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sh(t, talk(t, m), "true")
	if all := strings.Join(phases, "\n"); !strings.Contains(all, "template does not load") || !strings.HasSuffix(all, "booting") {
		t.Errorf("phases: got %q, want a template that does not load, and a boot", phases)
	}
	if _, ready := d.Template(t.Context(), spec); ready {
		t.Error("the template is still there")
	}
}

// sendOff runs a line after which there is no guest to say how it ended.
func sendOff(c *guest.Client, line string) {
	_, _ = c.Exec(context.Background(), guest.Command{Shell: "sleep 0.2; " + line, User: "root"}, nil, nil, nil)
}
