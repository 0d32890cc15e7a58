package libvirt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// A users is a disk that a user could have: a Debian with QEMU's agent in it, and
// nothing of assay's.
type users struct {
	Dir  string // of disk, kernel and initrd
	Work string // where machines' own disks go
	Line string // of the kernel
}

// usersMade is the disk of this test process.
var usersMade struct {
	sync.Mutex
	*users
}

// unit has QEMU's agent run in the guest.
const unit = `[Service]
Environment=LD_LIBRARY_PATH=/opt/qga
ExecStart=/opt/qga/qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
`

// makeItTheirs takes assay out of its own image, and shuts the guest down.
const makeItTheirs = `set -e; mv /opt/qga/unit /etc/systemd/system/qga.service; systemctl enable -q qga
rm -rf /etc/systemd/system/assay-agent.service /etc/systemd/system/*.wants/assay-agent.service /usr/lib/assay /etc/sudoers.d/tester
sed -i /^tester:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow; rm -rf /home/tester; sync
(sleep 1; systemctl poweroff) >/dev/null 2>&1 &`

// theirs makes the disk from assay's image and the host's own QEMU agent, in a
// machine of the driver's, once.
func theirs(t testing.TB, d *driver, img vm.Image, dir string) *users {
	t.Helper()
	usersMade.Lock()
	defer usersMade.Unlock()
	if usersMade.users != nil {
		return usersMade.users
	}
	spec := vm.Spec{Name: "theirs", Owner: "test-theirs", Dir: filepath.Join(t.TempDir(), "m"), Image: img, CPUs: 1, Memory: 512 << 20}
	launched, err := d.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer launched.Close()
	m := launched.(*machine)
	c := talk(t, m)
	if _, err := c.Push(t.Context(), collectAgent(t), "/opt/", guest.PushOptions{User: "root"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), guest.Command{Shell: makeItTheirs, User: "root"}, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the guest's end", func() bool { return m.why(t.Context()) != nil })
	if stopped := (*vm.StoppedError)(nil); !errors.As(m.why(t.Context()), &stopped) {
		t.Errorf("a guest that shut itself down: got %v, want a *vm.StoppedError", m.why(t.Context()))
	}
	u := &users{Dir: filepath.Join(dir, "theirs"), Line: img.Append}
	u.Work = u.Dir
	quiet(t, nil, "sh", "-c", `set -e; mkdir -p "$2"; chmod 711 "$2"; cp "$1/kernel" "$2/vmlinuz"; cp "$1/initrd" "$2/initrd"; chmod 644 "$2"/*
cp "$1/base" "$2/base"; cp "$1/disk.qcow2" "$2/disk.qcow2"; chmod 444 "$2"/base "$2/disk.qcow2"`, "sh", m.dir, u.Dir)
	usersMade.users = u
	return u
}

// collectAgent makes a folder with the host's QEMU agent and the libraries that
// a small guest lacks.
func collectAgent(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("qemu-ga")
	if err != nil {
		drivertest.Skip(t, "libvirt", "qemu-ga is not installed: apt-get install qemu-guest-agent")
	}
	dir := filepath.Join(t.TempDir(), "qga")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "unit"), []byte(unit), 0o644)); err != nil {
		t.Fatal(err)
	}
	files := []string{path}
	for _, m := range regexp.MustCompile(`=> (/\S+/lib(?:udev|numa|uring|glib|gmodule|pcre)\S+)`).FindAllStringSubmatch(quiet(t, nil, "ldd", path), -1) {
		files = append(files, m[1])
	}
	quiet(t, nil, append([]string{"cp", "-L", "-t", dir}, files...)...)
	return dir
}

// talk opens a line to a machine that ends with the test.
func talk(t testing.TB, m vm.Machine) *guest.Client {
	t.Helper()
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.Connect(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// waitFor waits until something is so.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited three minutes for %s", what)
		}
	}
}

// install makes a running machine as a user would, with virt-install, and
// returns its name. It goes with the test.
func (u *users) install(t testing.TB, uri string) string {
	t.Helper()
	if _, err := exec.LookPath("virt-install"); err != nil {
		drivertest.Skip(t, "libvirt", "virt-install is not installed: apt-get install virtinst")
	}
	name := "their-" + newUUID()[:4] // short: libvirt makes a socket of it
	disk := filepath.Join(u.Work, name+".qcow2")
	quiet(t, nil, "qemu-img", "create", "-q", "-f", "qcow2", "-b", filepath.Join(u.Dir, "disk.qcow2"), "-F", "qcow2", disk)
	t.Cleanup(func() {
		virsh(uri).Run(context.Background(), "destroy", name) // it may be off
		if _, err := virsh(uri).Run(context.Background(), "undefine", name, "--snapshots-metadata"); err != nil {
			t.Error(err)
		}
		os.Remove(disk)
	})
	quiet(t, nil, "virt-install", "--connect", uri, "--name", name, "--virt-type", "qemu", "--memory", "512", "--vcpus", "1",
		"--import", "--disk", "path="+disk+",format=qcow2,bus=virtio", "--osinfo", "detect=off,require=off", "--network", "none",
		"--graphics", "none", "--noautoconsole", "--channel", "unix,target.type=virtio,target.name="+qemuPort,
		"--boot", "kernel="+filepath.Join(u.Dir, "vmlinuz")+",initrd="+filepath.Join(u.Dir, "initrd")+",kernel_args="+u.Line)
	return name
}

// existing is the suite's Existing: check proves that the machine is what it was.
func (u *users) existing(t testing.TB, uri string) (name string, check func()) {
	name = u.install(t, uri)
	in := inside{site: &site{virsh: virsh(uri)}, name: name}
	waitFor(t, "QEMU's agent", func() bool { return in.ping(t.Context()) == nil })
	before := describe(t, uri, name)
	return name, func() {
		t.Helper()
		if after := describe(t, uri, name); after != before {
			t.Errorf("the machine was\n%s\nand is\n%s", before, after)
		}
		_, err := in.Exec(t.Context(), []string{"sh", "-c", "test ! -e /usr/lib/assay && ! id tester >/dev/null 2>&1 && ! pgrep -x assay-agent && test ! -e /dev/virtio-ports/" + guest.Port}, nil)
		if err != nil {
			t.Errorf("something of assay's is left in the guest: %v", err)
		}
	}
}

// describe says all that libvirt knows of a machine and what does not change by itself.
func describe(t testing.TB, uri, name string) string {
	t.Helper()
	var all []string
	for _, args := range [][]string{{"domstate"}, {"dumpxml", "--inactive"}, {"dumpxml"}, {"snapshot-list", "--name"}} {
		r, err := virsh(uri).Run(t.Context(), append([]string{args[0], name}, args[1:]...)...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r.Text())
	}
	return strings.Join(all, "\n")
}

// needTheirs makes what a test about users' machines needs.
func needTheirs(t testing.TB, d *driver, dm *daemon) *users {
	t.Helper()
	d.cfg.Agents = agents
	return theirs(t, d, realImage(t), dm.dir)
}

// agents is the agent as the command has it.
func agents(arch string) ([]byte, error) {
	return os.ReadFile(filepath.Join("..", "..", "cmd", "assay", "agent", "assay-agent-"+arch))
}

// A machine that was off is off again, though snapshots were taken and restored.
func TestAdoptedMachineGoesBackToOff(t *testing.T) {
	t.Parallel()
	d, dm := systemDriver(t)
	u := needTheirs(t, d, dm)
	name := u.install(t, dm.uri())
	if _, err := d.Adopt(t.Context(), name+"x", vm.Spec{Dir: filepath.Join(t.TempDir(), "m")}); !missing(err) {
		t.Errorf("an unknown name: got %v, want fs.ErrNotExist", err)
	}
	if _, err := virsh(dm.uri()).Run(t.Context(), "destroy", name); err != nil {
		t.Fatal(err)
	}
	before := describe(t, dm.uri(), name)
	m, err := d.Adopt(t.Context(), name, vm.Spec{Name: "a", Owner: "test", Dir: filepath.Join(t.TempDir(), "m")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	snapshots(t, m)
	if _, err := vm.As[vm.Forker](m); err == nil {
		t.Error("a user's machine can be forked")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if after := describe(t, dm.uri(), name); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
}

// snapshots proves that a machine goes back, memory included.
func snapshots(t *testing.T, m vm.Machine) {
	t.Helper()
	s, err := vm.As[vm.MemorySnapshotter](m)
	if err != nil {
		t.Fatal(err)
	}
	sh(t, talk(t, m), "echo before >/run/word")
	if err := s.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	sh(t, talk(t, m), "echo after >/run/word")
	if err := s.Restore(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, talk(t, m), "cat /run/word"); got != "before" {
		t.Errorf("after the restore: got %q, want before", got)
	}
}

// sh runs a line as root and returns what it printed.
func sh(t testing.TB, c *guest.Client, line string) string {
	t.Helper()
	var out strings.Builder
	exit, err := c.Exec(t.Context(), guest.Command{Shell: line, User: "root"}, nil, &out, &out)
	if err != nil || exit.Code != 0 {
		t.Fatalf("%s: exit %d, %v: %s", line, exit.Code, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

// A machine whose guest has no agent of QEMU's cannot be entered, and is told so
// before anything is done to it.
func TestAdoptNeedsAChannel(t *testing.T) {
	d, dm := systemDriver(t)
	name := "bare-" + newUUID()[:8]
	file := filepath.Join(t.TempDir(), "bare.xml")
	text := "<domain type='qemu'><name>" + name + "</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := virsh(dm.uri()).Run(t.Context(), "define", file); err != nil {
		t.Fatal(err)
	}
	defer virsh(dm.uri()).Run(context.Background(), "undefine", name)
	_, err := d.Adopt(t.Context(), name, vm.Spec{Dir: filepath.Join(t.TempDir(), "m")})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "qemu-guest-agent") {
		t.Errorf("got %v, want an *vm.UnsupportedError that names what to install", err)
	}
	r, err := virsh(dm.uri()).Run(t.Context(), "domuuid", name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Adopt(t.Context(), r.Text(), vm.Spec{Dir: filepath.Join(t.TempDir(), "m")})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "existing = \""+name) {
		t.Errorf("by its UUID: got %v, want its name, by which other tests know it", err)
	}
}

var _ cli.Putter = inside{}
