package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/drivers/internal/cli"

	"golang.org/x/sys/unix"
)

// A flavour is one of the daemons that the driver talks to.
type flavour struct {
	name   string
	client string
	places []string // where the daemon's program may be
	dirEnv string   // names the folder that is all of its state
}

var flavours = []flavour{
	{"incus", "incus", []string{"/usr/libexec/incus/incusd", "/usr/lib/incus/incusd", "/opt/incus/bin/incusd"}, "INCUS_DIR"},
	{"lxd", "lxc", []string{"/usr/bin/lxd", "/usr/sbin/lxd", "/usr/lib/lxd/lxd"}, "LXD_DIR"},
}

// program returns the daemon's path; "" if it, or its client, is not installed.
func (f flavour) program() string {
	if _, err := exec.LookPath(f.client); err != nil {
		return ""
	}
	for _, p := range f.places {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// A daemon is a real one that the test starts and ends. It and the containers
// live in namespaces of their own, whose first process is the test binary again:
// when that dies, whatever the reason, the kernel ends all the others and takes
// mounts, networks and loop devices away.
type daemon struct {
	t    *testing.T
	f    flavour
	dir  string
	init *os.Process
	over chan struct{} // init was waited for

	before []string // cgroups of others
	tool   *cli.Tool
}

// startDaemon starts a daemon with a storage pool, which lives as long as the
// test, and makes it the one that clients find.
func startDaemon(t *testing.T, f flavour) *daemon {
	t.Helper()
	if os.Getuid() != 0 {
		drivertest.Skip(t, driverName, "the daemon needs root")
	}
	removeDead(t)
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid())) // not t.TempDir: a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, f: f, dir: dir, over: make(chan struct{})}
	d.tool = &cli.Tool{Driver: driverName, Name: f.client, Errors: meanings("", ""), Env: []string{f.dirEnv + "=" + d.state()}}
	d.before = cgroups("lxc.*.assay-*")
	t.Cleanup(d.end)
	if err := os.Chmod(dir, 0o711); err != nil { // containers' users go through it
		t.Fatal(err)
	}
	for _, other := range flavours {
		t.Setenv(other.dirEnv, filepath.Join(dir, "nobody"))
	}
	t.Setenv(f.dirEnv, d.state())
	if err := d.start(); err != nil {
		drivertest.Skip(t, driverName, fmt.Sprintf("%s does not start: %v\n%s", f.name, err, d.log()))
	}
	d.awaits()
	if out, err := d.run("storage", "create", "default", "btrfs", "size=24GiB"); err != nil {
		t.Logf("no btrfs, which would be faster: %v %s", err, out)
		d.must("storage", "create", "default", "dir")
	}
	d.must("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default")
	// A card that leads nowhere: tests need neither a bridge nor a firewall.
	d.must("profile", "device", "add", "default", "eth0", "nic", "nictype=p2p", "name=eth0")
	return d
}

// dirPrefix begins the names of folders of daemons, before the test's process.
const dirPrefix = "assay-incus-"

// removeDead removes the folders and empty cgroups of tests that were killed. The
// kernel has taken the rest.
func removeDead(t *testing.T) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"[0-9]*-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range cgroups("lxc.*.assay-*") {
		if deserted(c) {
			removeTree(c)
		}
	}
}

func (d *daemon) state() string { return filepath.Join(d.dir, "state") }

func (d *daemon) log() string {
	text, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	return string(text[max(0, len(text)-4<<10):])
}

// initEnv makes the test binary the first process of a daemon's namespaces.
const initEnv = "ASSAY_TEST_INCUS_INIT"

// start starts the first process, which starts the daemon.
func (d *daemon) start() error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), initEnv+"="+d.f.program(), d.f.dirEnv+"="+d.state())
	cmd.Dir = d.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL, Setpgid: true,
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel ends a child with the thread that started it
		defer close(d.over)
		err := cmd.Start()
		d.init = cmd.Process
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	return <-started
}

// end ends everything, and proves that nothing is left on the host.
func (d *daemon) end() {
	if d.init != nil {
		if left, err := d.run("list", "-f", "csv", "-c", "n"); err != nil || strings.TrimSpace(left) != "" {
			d.t.Errorf("instances at the end: %v %s; want none", err, left)
		}
		d.init.Kill()
		<-d.over
	}
	for _, c := range cgroups("lxc.*.assay-*") {
		if !slices.Contains(d.before, c) {
			d.t.Errorf("%s is left", c)
			removeTree(c)
		}
	}
	for _, c := range cgroups("lxc.pivot") { // where LXC's own processes go to die
		_ = os.Remove(c) // other containers may need it
	}
	d.untraced()
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Error(err)
	}
}

// cgroups lists those of a name in each hierarchy.
func cgroups(name string) []string {
	old, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	unified, _ := filepath.Glob("/sys/fs/cgroup/" + name)
	return append(old, unified...)
}

// deserted reports whether no process is in a cgroup or below it.
func deserted(dir string) bool {
	empty := true
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.Name() == "cgroup.procs" {
			pids, err := os.ReadFile(path)
			empty = empty && err == nil && len(pids) == 0
		}
		return nil
	})
	return empty
}

// removeTree removes a cgroup and those below it.
func removeTree(dir string) {
	below, _ := filepath.Glob(dir + "/*/")
	for _, b := range below {
		removeTree(filepath.Clean(b))
	}
	_ = os.Remove(dir)
}

// untraced fails the test if the host still has a mount, a loop device or a
// process that belongs to the daemon.
func (d *daemon) untraced() {
	var left []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left = nil
		if mounts, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(mounts), d.dir) {
			left = append(left, "a mount")
		}
		loops, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
		for _, l := range loops {
			if file, _ := os.ReadFile(l); strings.Contains(string(file), d.dir) {
				left = append(left, l)
			}
		}
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, l := range lines {
			if line, _ := os.ReadFile(l); strings.Contains(string(line), d.dir) {
				left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(left) > 0 {
		d.t.Errorf("left on the host: %q", left)
	}
}

// run runs the client.
func (d *daemon) run(args ...string) (string, error) {
	r, err := d.tool.Run(context.Background(), args...)
	return r.Text(), err
}

func (d *daemon) must(args ...string) string {
	d.t.Helper()
	out, err := d.run(args...)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, d.log())
	}
	return out
}

// awaits waits until the daemon answers.
func (d *daemon) awaits() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := cli.Until(ctx, d.f.name, func(ctx context.Context) (bool, error, error) {
		_, err := d.tool.Run(ctx, "query", "/1.0")
		return err == nil, err, nil
	})
	if err != nil {
		d.t.Fatalf("%v\n%s", err, d.log())
	}
}

// kill ends the daemon, and nothing else, as the kernel does when memory is short.
func (d *daemon) kill() {
	d.t.Helper()
	d.init.Signal(syscall.SIGUSR1)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := d.run("query", "/1.0"); errors.Is(err, cli.ErrDaemon) {
			return
		}
		if time.Now().After(end) {
			d.t.Fatal("the daemon does not die")
		}
	}
}

// revive starts a daemon that was killed.
func (d *daemon) revive() {
	d.t.Helper()
	d.init.Signal(syscall.SIGHUP)
	d.awaits()
}

// beInit is the first process of a daemon's namespaces.
func beInit(program string) int {
	if err := moveIn(); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		return 1
	}
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGCHLD)
	var proc *os.Process
	run := func() {
		log, err := os.OpenFile("log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return
		}
		defer log.Close()
		os.Unsetenv(initEnv)
		proc, _ = os.StartProcess(program, []string{program, "--group", "root"}, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, log, log}})
	}
	run()
	for s := range signals {
		switch {
		case s == syscall.SIGUSR1 && proc != nil:
			proc.Kill()
		case s == syscall.SIGHUP:
			run()
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
	return 0
}

// moveIn furnishes the namespaces: nothing of it is seen outside.
func moveIn() error {
	return errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("run", "/run", "tmpfs", 0, "mode=0755"),
		os.Mkdir("/run/lock", 0o755), os.Mkdir("/run/cgroup", 0o755),
		unix.Mount("/sys/fs/cgroup", "/run/cgroup", "", unix.MS_BIND|unix.MS_REC, ""),
		unix.Mount("sysfs", "/sys", "sysfs", 0, ""), // with this namespace's network cards
		unix.Mount("/run/cgroup", "/sys/fs/cgroup", "", unix.MS_MOVE, ""),
		loopbackUp(),
	)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
