//go:build linux

package qemu

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay/guest"
	"assay/vm"

	"golang.org/x/sys/unix"
)

// A subject is a running machine and a line into it.
type subject struct {
	*testing.T
	*machine
	client *guest.Client
}

// launch starts a small machine of the real image, a clone unless edit says otherwise.
func launch(t *testing.T, name string, edit ...func(*vm.Spec)) *subject {
	t.Helper()
	spec := specFor(t, realImage(t), name)
	for _, e := range edit {
		e(&spec)
	}
	m, err := testDriver("").Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return take(t, m)
}

// take closes m with the test and dials it.
func take(t *testing.T, m vm.Machine) *subject {
	t.Helper()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s := &subject{T: t, machine: m.(*machine)}
	s.redial()
	return s
}

func (s *subject) redial() {
	s.Helper()
	conn, err := s.Dial(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if s.client, err = guest.Connect(s.Context(), conn); err != nil {
		s.Fatal(err)
	}
}

// sh runs a line as root and returns what it printed.
func (s *subject) sh(line string) string {
	s.Helper()
	var out bytes.Buffer
	exit, err := s.client.Exec(s.Context(), guest.Command{Shell: line, User: "root"}, nil, &out, &out)
	if err != nil || exit.Code != 0 {
		s.Fatalf("%s: exit %d, %v: %s", line, exit.Code, err, out.String())
	}
	return strings.TrimSpace(out.String())
}

func (s *subject) want(line, want string) {
	s.Helper()
	if got := s.sh(line); got != want {
		s.Errorf("%s: got %q, want %q", line, got, want)
	}
}

func (s *subject) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Clones of one template differ in everything that makes two machines two, and
// know what time it is.
func TestClonesAreNoTwins(t *testing.T) {
	a, b := launch(t, "anna"), launch(t, "berta")
	a.want("hostname", "anna")
	b.want("hostname", "berta")
	for _, line := range []string{"cat /etc/machine-id", "cat /proc/sys/kernel/random/uuid", "head -c 16 /dev/urandom | od -An -x"} {
		if one, two := a.sh(line), b.sh(line); one == two || one == "" {
			t.Errorf("%s: both say %q", line, one)
		}
	}
	seconds, err := strconv.ParseInt(a.sh("date +%s"), 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		t.Errorf("the guest's clock: got %v, %v, want about %v", time.Unix(seconds, 0), err, time.Now())
	}
}

// Snapshots may be visited in any order, keep memory, and outlive what came
// after them.
func TestRestoreInAnyOrder(t *testing.T) {
	s := launch(t, "m")
	for _, n := range []string{"1", "2", "3"} {
		s.sh("echo " + n + " | tee /run/memory /root/disk; sync")
		began := time.Now()
		s.must(s.Snapshot(t.Context(), n))
		t.Logf("snapshot %s: %v", n, time.Since(began))
		s.redial()
	}
	s.sh("rm /run/memory /root/disk; sync")
	for _, n := range []string{"2", "1", "3", "2"} {
		began := time.Now()
		s.must(s.Restore(t.Context(), n))
		t.Logf("restore %s: %v", n, time.Since(began))
		s.redial()
		s.want("cat /run/memory /root/disk", n+"\n"+n)
		s.sh("echo x > /root/disk; sync")
	}
	s.must(s.Snapshot(t.Context(), "late"))
	s.must(s.Restore(t.Context(), "late"))
	s.redial()
	s.want("cat /root/disk /run/memory", "x\n2")
	if err := s.Restore(t.Context(), "never"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown snapshot: got %v, want fs.ErrNotExist", err)
	}
	if err := s.Snapshot(t.Context(), "1"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("snapshot taken twice: got %v, want fs.ErrExist", err)
	}
}

// A fork of a fork lives on when both its ancestors are gone.
func TestForkOfAForkOutlivesItsAncestors(t *testing.T) {
	s := launch(t, "parent")
	s.sh("echo kept | tee /run/memory /root/disk; sync")
	s.must(s.Snapshot(t.Context(), "a"))
	child, err := s.Fork(t.Context(), "a", specFor(t, s.hw.Image, "child"))
	s.must(err)
	c := take(t, child)
	s.must(s.Close())
	c.want("hostname; cat /run/memory /root/disk", "child\nkept\nkept")
	c.must(c.Snapshot(t.Context(), "a"))
	began := time.Now()
	grandchild, err := c.Fork(t.Context(), "a", specFor(t, s.hw.Image, "grandchild"))
	c.must(err)
	t.Logf("fork: %v", time.Since(began))
	g := take(t, grandchild)
	c.must(c.Close())
	g.want("hostname; cat /run/memory /root/disk", "grandchild\nkept\nkept")
	g.must(g.Snapshot(t.Context(), "b"))
	g.must(g.Restore(t.Context(), "b"))
	g.redial()
	g.want("echo 3 > /proc/sys/vm/drop_caches; cat /root/disk; md5sum /usr/bin/* | wc -l | grep -c .", "kept\n1")
}

func TestSnapshotKeepsTheCableOut(t *testing.T) {
	s := launch(t, "m")
	carrier := "cat /sys/class/net/e*/carrier"
	s.sh("ip link set $(basename /sys/class/net/e*) up")
	s.must(s.SetLink(t.Context(), false))
	s.want(carrier, "0")
	s.must(s.Snapshot(t.Context(), "out"))
	s.redial()
	s.must(s.SetLink(t.Context(), true))
	s.want(carrier, "1")
	s.must(s.Restore(t.Context(), "out"))
	s.redial()
	s.want(carrier, "0")
}

// A killed QEMU is named as such by the line, by every operation, and not
// mistaken for the guest's failure.
func TestKilledQEMU(t *testing.T) {
	s := launch(t, "m")
	u, err := s.Usage(t.Context())
	s.must(err)
	go func() {
		time.Sleep(200 * time.Millisecond)
		syscall.Kill(u.PID, syscall.SIGKILL)
	}()
	_, err = s.client.Exec(t.Context(), guest.Command{Shell: "sleep 1000"}, nil, nil, nil)
	const want = "qemu ended unexpectedly: signal: killed"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("exec: got %v, want %q", err, want)
	}
	_, dial := s.Dial(t.Context())
	_, usage := s.Usage(t.Context())
	for op, err := range map[string]error{
		"dial": dial, "usage": usage,
		"snapshot": s.Snapshot(t.Context(), "a"),
		"link":     s.SetLink(t.Context(), false),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", op, err, want)
		}
	}
}

func TestGuestThatShutsItselfDown(t *testing.T) {
	s := launch(t, "m")
	_, err := s.client.Exec(t.Context(), guest.Command{Shell: "poweroff -ff; sleep 1000", User: "root"}, nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "the guest shut itself down (guest-shutdown)") {
		t.Errorf("got %v, want what happened", err)
	}
}

// A guest that fills the host's disk ends with words, not by standing still.
func TestFullHostDisk(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "only root can make a small file system")
	}
	small := t.TempDir()
	if err := unix.Mount("small", small, "tmpfs", 0, "size=96m"); err != nil {
		skip(t, err.Error())
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	s := launch(t, "m", func(spec *vm.Spec) { spec.Dir = filepath.Join(small, "m") })

	err := s.Snapshot(t.Context(), "a")
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), small) {
		t.Errorf("snapshot: got %v, want no space and the path", err)
	}
	s.redial()
	s.sh("true") // the machine goes on

	_, err = s.client.Exec(t.Context(), guest.Command{
		Shell: "dd if=/dev/urandom of=/root/big bs=1M count=400 conv=fsync", User: "root",
	}, nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no space left on device") || !strings.Contains(err.Error(), small) {
		t.Errorf("exec: got %v, want no space and the path", err)
	}
}

// A booted machine's file system is as large as the script asked for.
func TestColdBootGrowsTheRoot(t *testing.T) {
	s := launch(t, "m", func(spec *vm.Spec) { spec.Cold, spec.Disk = true, spec.Image.Size+4<<30 })
	kilobytes, err := strconv.ParseInt(s.sh("df -k --output=size / | tail -1"), 10, 64)
	if want := s.hw.Image.Size>>10 + 3<<20; err != nil || kilobytes < want {
		t.Errorf("got %d KiB, %v, want at least %d", kilobytes, err, want)
	}
	if text, err := s.Console(); err != nil || !bytes.Contains(text, []byte("Linux version")) {
		t.Errorf("console: got %d bytes, %v, want the kernel's start", len(text), err)
	}
}

// A template whose state is damaged is thrown away and made again.
func TestDamagedTemplateIsMadeAgain(t *testing.T) {
	img, dir := realImage(t), t.TempDir()
	var phases []string
	spec := specFor(t, img, "m")
	spec.Progress = func(phase string) { phases = append(phases, phase) }
	d := New(Config{TemplateDir: dir}).(*driver)
	tl, err := d.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hw, err := tl.hardware(spec)
	if err != nil {
		t.Fatal(err)
	}
	tpl := filepath.Join(dir, tl.templateKey(hw))
	fill(t, tpl, img.Disk) // of zeros: its disk, state and console are not even there
	for _, name := range []string{stateName, consoleName} {
		if err := os.WriteFile(filepath.Join(tpl, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := createOverlay(filepath.Join(tpl, layerName(0)), img.Disk, img.Format, hw.Size); err != nil {
		t.Fatal(err)
	}
	m, err := d.Launch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	take(t, m).want("hostname", "m")
	if got := strings.Join(phases, "\n"); !strings.Contains(got, "template does not load") || !strings.Contains(got, "building template") {
		t.Errorf("phases: got\n%s\nwant a template that does not load and is built again", got)
	}
	if got, err := Trim(dir, 1<<40); got != 0 || err != nil {
		t.Errorf("trim: freed %d, %v, want the new template kept", got, err)
	}
}

// Close at any moment of a snapshot or restore leaves nothing.
func TestCloseAtAnyMoment(t *testing.T) {
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		s := launch(t, "m")
		ops := make(chan error, 1)
		go func() {
			s.Snapshot(context.Background(), "a")
			ops <- s.Restore(context.Background(), "a")
		}()
		time.Sleep(after)
		s.must(s.Close())
		t.Logf("after %v: %v", after, <-ops)
		if p := processes(t, s.dir); len(p) > 0 {
			t.Errorf("after %v: processes are left: %v", after, p)
		}
		if !gone(t, s.dir) {
			t.Errorf("after %v: the folder is left", after)
		}
	}
}

// Open means that the guest has an address at once, though it was cloned from a
// template; none means that a connection fails at once.
func TestNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("reached"))
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	connect := "bash -c 'timeout 60 cat < /dev/tcp/10.0.2.2/" + port + "' 2>&1 || true"

	open := launch(t, "open", func(spec *vm.Spec) { spec.Network.Mode = vm.NetworkOpen })
	if got := open.sh(connect); got != "reached" {
		t.Errorf("open: got %q, want the host's answer", got)
	}
	none := launch(t, "none")
	began := time.Now()
	if got := none.sh(connect); strings.Contains(got, "reached") || time.Since(began) > 30*time.Second {
		t.Errorf("none: got %q after %v, want a refusal at once", got, time.Since(began))
	}
}

func TestUEFIStarts(t *testing.T) {
	needProgram(t)
	if _, err := uefi(); err != nil {
		skip(t, err.Error())
	}
	img := image(t) // nothing to boot, so the firmware ends in its shell
	img.Firmware = "uefi"
	_, err := New(Config{}).Launch(t.Context(), specFor(t, img, "m"))
	boot, ok := errors.AsType[*vm.BootError](err)
	if !ok || !bytes.Contains(boot.Console, []byte("BdsDxe")) || !strings.Contains(err.Error(), "UEFI Interactive Shell") {
		t.Errorf("got %v, want a *vm.BootError with the firmware's words", err)
	}
}

// The firmware's flash and its variables are part of a snapshot.
func TestUEFISnapshotLoads(t *testing.T) {
	needProgram(t)
	img := image(t)
	img.Firmware = "uefi"
	spec := specFor(t, img, "m")
	d := New(Config{}).(*driver)
	tl, err := d.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hw, err := tl.hardware(spec)
	if err != nil {
		skip(t, err.Error())
	}
	m, err := d.newMachine(tl, hw, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.firstLayer(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.start(t.Context(), ram{}, nil); err != nil {
		t.Fatal(err)
	}
	wait(t, "the firmware", func() bool { return m.hopeless() != "" })
	if err := m.Snapshot(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	s := m.snapshots["a"]
	vars, err := os.ReadFile(m.path(varsName))
	if err != nil {
		t.Fatal(err)
	}
	if saved, err := os.ReadFile(s.vars); err != nil || !bytes.Equal(saved, vars) {
		t.Errorf("variables: got %d bytes, %v, want the machine's", len(saved), err)
	}
	m.endProcess(errRestored)()
	p, err := m.resume(t.Context(), saved{mem: ram{path: s.ram}, state: s.state})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.poll(t.Context(), "query-status", statusIs(func(now string) (bool, error) { return now == "running", nil })); err != nil {
		t.Error(err)
	}
}
