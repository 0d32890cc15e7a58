package libvirt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay/drivers/drivertest"
	"assay/vm"
)

// An ordinary is a user who is nobody in particular, with a home and a libvirt
// session of its own. The account lives as long as the test.
type ordinary struct {
	name     string
	uid, gid uint32
	home     string
}

// newUser makes the account.
func newUser(t *testing.T) *ordinary {
	t.Helper()
	dir, err := os.MkdirTemp("", "u-") // short: libvirt makes sockets deep below it
	if err != nil {
		t.Fatal(err)
	}
	u := &ordinary{name: "assay-t" + strings.ToLower(rand.Text()[:8]), home: dir}
	t.Cleanup(func() {
		if err := u.end(); err != nil {
			t.Error(err)
		}
	})
	quiet(t, nil, "useradd", "--no-create-home", "--user-group", "--home-dir", dir, "--shell", "/bin/sh", u.name)
	account, err := user.Lookup(u.name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.Atoi(account.Uid)
	gid, err2 := strconv.Atoi(account.Gid)
	if err := errors.Join(err1, err2, os.Mkdir(filepath.Join(dir, "run"), 0o700), os.Chmod(dir, 0o711), os.Chown(dir, uid, gid), os.Chown(filepath.Join(dir, "run"), uid, gid)); err != nil {
		t.Fatal(err)
	}
	u.uid, u.gid = uint32(uid), uint32(gid)
	return u
}

// end ends the user's daemons, which libvirt started for it, and the account.
func (u *ordinary) end() error {
	var errs []error
	for _, name := range []string{"libvirtd", "virtlogd"} {
		errs = append(errs, endDaemon(filepath.Join(u.home, "run", "libvirt", name+".pid"), syscall.SIGTERM))
	}
	if out, err := exec.Command("userdel", u.name).CombinedOutput(); err != nil {
		errs = append(errs, fmt.Errorf("userdel: %w: %s", err, out))
	}
	return errors.Join(append(errs, os.RemoveAll(u.home))...)
}

// env is the user's environment, and nothing of ours but the path.
func (u *ordinary) env() []string {
	return []string{"HOME=" + u.home, "USER=" + u.name, "LOGNAME=" + u.name, "XDG_RUNTIME_DIR=" + filepath.Join(u.home, "run"), "TMPDIR=/tmp", "PATH=" + os.Getenv("PATH")}
}

// Variables that make the test binary run the suite as the user that it is.
const (
	childURI   = "ASSAY_TEST_LIBVIRT_URI"
	childImage = "ASSAY_TEST_LIBVIRT_IMAGE"
	childDisk  = "ASSAY_TEST_LIBVIRT_DISK" // of a machine of the user's
)

// lend gives the user an image to read, of which it is not the owner.
func (u *ordinary) lend(t *testing.T, img vm.Image) vm.Image {
	t.Helper()
	for name, file := range map[string]*string{"disk": &img.Disk, "vmlinuz": &img.Kernel, "initrd": &img.Initrd} {
		to := filepath.Join(u.home, name)
		quiet(t, nil, "cp", *file, to) // and no second name: whose it is shall be the test's affair only
		if err := os.Chmod(to, 0o444); err != nil {
			t.Fatal(err)
		}
		*file = to
	}
	img.Manifest = ""
	return img
}

// run runs one of this binary's tests as the user, and returns what it printed.
func (u *ordinary) run(t *testing.T, test, uri string, img vm.Image, own users) []byte {
	t.Helper()
	own.Work = u.home
	image, err1 := json.Marshal(img)
	disk, err2 := json.Marshal(own)
	self, err3 := os.Executable()
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(u.home, "test")
	quiet(t, nil, "cp", self, binary)
	quiet(t, nil, "cp", filepath.Join("..", "..", "cmd", "assay", "agent", "assay-agent-amd64"), u.home)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.run", test, "-test.timeout", "30m")
	cmd.Dir = u.home
	cmd.Env = append(u.env(), childURI+"="+uri, childImage+"="+string(image), childDisk+"="+string(disk))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid}, Pdeathsig: syscall.SIGTERM}
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil && !bytes.Contains(out.Bytes(), []byte("--- FAIL")) {
		t.Fatalf("as %s: %v\n%s", u.name, err, out.Bytes())
	}
	return out.Bytes()
}

// TestChild is the part of the tests that runs as an ordinary user.
func TestChild(t *testing.T) {
	uri := os.Getenv(childURI)
	if uri == "" {
		t.Skip("a part of the other tests")
	}
	var img vm.Image
	var u users
	if err := errors.Join(json.Unmarshal([]byte(os.Getenv(childImage)), &img), json.Unmarshal([]byte(os.Getenv(childDisk)), &u)); err != nil {
		t.Fatal(err)
	}
	d := testDriver(t, uri)
	d.cfg.Agents = func(arch string) ([]byte, error) { return os.ReadFile("assay-agent-" + arch) }
	drivertest.Run(t, drivertest.Config{Driver: d, Image: img, Timeout: rowMax, Existing: func(t testing.TB) (string, func()) { return u.existing(t, uri) }})
}

// rowEnd is the last line of a row of the suite.
var rowEnd = regexp.MustCompile(`(?m)^ +--- (PASS|FAIL|SKIP): TestChild/real/(\w+) `)

// mirror makes the rows of a child subtests of t, so that they are counted.
func mirror(t *testing.T, out []byte) {
	rows := rowEnd.FindAllSubmatch(out, -1)
	if len(rows) == 0 {
		t.Fatalf("the child ran no row:\n%s", out)
	}
	failed := false
	t.Run("real", func(t *testing.T) {
		for _, r := range rows {
			t.Run(string(r[2]), func(t *testing.T) {
				switch string(r[1]) {
				case "FAIL":
					failed = true
					t.Error("failed as an ordinary user")
				case "SKIP":
					t.Skip("skipped as an ordinary user")
				}
			})
		}
	})
	if failed || !bytes.Contains(out, []byte("\nPASS\n")) {
		t.Errorf("the child said:\n%s", out)
	}
}

// needRoot skips a test that makes an account.
func needRoot(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("no machines in a short run")
	}
	if os.Geteuid() != 0 {
		drivertest.Skip(t, "libvirt", "only root can make a user for this")
	}
	if _, err := exec.LookPath("useradd"); err != nil {
		drivertest.Skip(t, "libvirt", "useradd is not installed: apt-get install passwd")
	}
}

// TestSession runs the suite as an ordinary user on that user's own libvirt,
// which nobody has started.
func TestSession(t *testing.T) {
	needRoot(t)
	t.Parallel()
	d, dm := systemDriver(t)
	own := needTheirs(t, d, dm)
	u := newUser(t)
	mirror(t, u.run(t, "^TestChild$", "qemu:///session", u.lend(t, realImage(t)), *own))
}

// TestSystemOfAUser proves that who may use the system's libvirt, and is nobody
// else, can use its machines: QEMU runs as that user, on files of that user's.
func TestSystemOfAUser(t *testing.T) {
	needRoot(t)
	t.Parallel()
	_, d := systemDriver(t)
	img := realImage(t)
	u := newUser(t)
	lent := u.lend(t, img)
	mirror(t, u.run(t, "^TestChild$/^real$/^(Restore|SweepFindsOrphans)$", d.uri(), lent, users{}))
	for _, file := range []string{lent.Disk, lent.Kernel, lent.Initrd} {
		if info, err := os.Stat(file); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s: got %v, %v; want root's still: the image is not the machine's", file, info, err)
		}
	}
}

// quiet returns what a command prints, or fails.
func quiet(t testing.TB, stdin io.Reader, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = stdin
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}
