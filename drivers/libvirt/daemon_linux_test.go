package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/images"
	"assay/vm"
)

// A daemon is the system's libvirt, started by hand in a view of the file system
// of its own: what it keeps is in folders of the test's, but for QEMU's logs, and
// the host's own libvirt, if there is one, never meets it. KVM is hidden from it: where the
// device is there and does not work, libvirt asks QEMU about it before each start.
type daemon struct {
	dir string
}

// enter mounts the test's folders over libvirt's, starts virtlogd once, and
// becomes libvirtd.
const enter = `set -e; d=$1
for f in run:/run/libvirt etc:/etc/libvirt cache:/var/cache/libvirt state:/var/lib/libvirt/qemu; do
	mkdir -p "$d/${f%%:*}" "${f#*:}"; mount --bind "$d/${f%%:*}" "${f#*:}"
done
if [ -e /dev/kvm ]; then : >"$d/nothing"; mount --bind "$d/nothing" /dev/kvm; fi
[ -e "$d/virtlogd.pid" ] || virtlogd -d -p "$d/virtlogd.pid"
exec libvirtd -d -f "$d/etc/libvirtd.conf" -p "$d/libvirtd.pid"`

const daemonConfig = `unix_sock_dir = "%s/sock"
auth_unix_rw = "none"
unix_sock_rw_perms = "0777"
`

// system is the daemon of this test process; it is started when it is first
// needed, and ended by TestMain.
var (
	system  = sync.OnceValues(startSystem)
	running atomic.Bool
)

func startSystem() (*daemon, error) {
	running.Store(true)
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can start the system's libvirt")
	}
	for _, tool := range []string{"unshare", "virsh", "libvirtd", "virtlogd", "qemu-img", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed: apt-get install libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils", tool)
		}
	}
	dir, err := os.MkdirTemp("", "libvirt-") // not t.TempDir: sockets' paths must be short, and others may look
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir}
	etc := filepath.Join(dir, "etc")
	err = errors.Join(os.Chmod(dir, 0o711), os.Mkdir(etc, 0o755), os.Mkdir(filepath.Join(dir, "sock"), 0o755), os.Mkdir(filepath.Join(dir, "images"), 0o711),
		os.WriteFile(filepath.Join(etc, "libvirtd.conf"), fmt.Appendf(nil, daemonConfig, dir), 0o644),
		os.WriteFile(filepath.Join(etc, "qemu.conf"), []byte("namespaces = []\n"), 0o644))
	if err != nil {
		return nil, err
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.end())
	}
	return d, nil
}

// uri is how to reach the daemon.
func (d *daemon) uri() string { return "qemu:///system?socket=" + d.socket() }

func (d *daemon) socket() string { return filepath.Join(d.dir, "sock", "libvirt-sock") }

// pool is where the tests' machines live.
func (d *daemon) pool() string { return filepath.Join(d.dir, "images") }

// start starts libvirtd, and returns when it answers.
func (d *daemon) start() error {
	out, err := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh", d.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("libvirtd: %w: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return cli.Until(ctx, "waiting for libvirtd", func(ctx context.Context) (bool, error, error) {
		_, err := virsh(d.uri()).Run(ctx, "version")
		return err == nil, err, nil
	})
}

// kill ends libvirtd and waits until it is gone. QEMUs live on.
func (d *daemon) kill(how syscall.Signal) error {
	return endDaemon(filepath.Join(d.dir, "libvirtd.pid"), how)
}

// end ends everything, and says what the tests left behind.
func (d *daemon) end() error {
	r, err := virsh(d.uri()).Run(context.Background(), "list", "--all", "--name")
	if err == nil && r.Text() != "" {
		err = fmt.Errorf("domains are left: %s", r.Text())
	}
	left, _ := filepath.Glob(filepath.Join(d.pool(), "assay-*"))
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("folders are left: %v", left))
	}
	return errors.Join(err, d.kill(syscall.SIGTERM), endDaemon(filepath.Join(d.dir, "virtlogd.pid"), syscall.SIGTERM), os.RemoveAll(d.dir))
}

// endDaemon ends the process whose id is in a file, and waits for it.
func endDaemon(file string, how syscall.Signal) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s: got %q, want a process id", file, data)
	}
	if err := syscall.Kill(pid, how); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for end := time.Now().Add(20 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("process %d does not end", pid)
		}
	}
	return nil
}

// homeOfTests is the state folder of this test process.
var homeOfTests = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "libvirt-home-")
	if err != nil {
		panic(err)
	}
	return dir
})

func TestMain(m *testing.M) {
	standin.Play()
	if os.Getenv(netcatEnv) != "" {
		os.Exit(beNetcat())
	}
	code := m.Run()
	if running.Load() {
		if d, err := system(); err == nil {
			if err := d.end(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.RemoveAll(homeOfTests())
	os.Exit(code)
}

// systemDriver returns the driver on the test's own libvirt, or skips.
func systemDriver(t *testing.T) (*driver, *daemon) {
	t.Helper()
	if testing.Short() {
		t.Skip("no machines in a short run")
	}
	d, err := system()
	if err != nil {
		drivertest.Skip(t, "libvirt", err.Error())
	}
	td := testDriver(t, d.uri())
	td.pool = d.pool()
	return td, d
}

// testDriver returns the driver on a connection, with templates of the test
// process's own.
func testDriver(t *testing.T, uri string) *driver {
	t.Helper()
	d := New(cli.Config{Home: homeOfTests()}).(*driver)
	d.uri = uri
	return d
}

// realImage returns the image debian-12 of the user's own store, or skips.
func realImage(t testing.TB) vm.Image {
	t.Helper()
	store, err := images.Open(filepath.Join(home(), "images"))
	if err != nil {
		drivertest.Skip(t, "libvirt", err.Error())
	}
	img, err := store.Resolve("debian-12")
	if err != nil {
		drivertest.Skip(t, "libvirt", err.Error())
	}
	return img
}

// home is assay's state folder.
func home() string {
	if dir := os.Getenv("ASSAY_HOME"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "assay")
	}
	dir, _ := os.UserHomeDir()
	return filepath.Join(dir, ".local", "share", "assay")
}
