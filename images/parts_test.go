package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

func TestLoadOrderPutsNeedsFirst(t *testing.T) {
	dep := `kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/fs/mbcache.ko.xz:
kernel/lib/crc16.ko.xz:
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz
kernel/drivers/virtio/virtio.ko.xz:
kernel/drivers/loop.ko: kernel/drivers/ring.ko
kernel/drivers/ring.ko: kernel/drivers/loop.ko
`
	got, err := loadOrder(dep, []string{"virtio_blk", "not_there", "ext4", "loop"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(name string) int {
		return slices.IndexFunc(got, func(f string) bool { return moduleName(f) == name })
	}
	for _, pair := range [][2]string{{"virtio", "virtio_blk"}, {"crc16", "ext4"}, {"jbd2", "ext4"}, {"mbcache", "ext4"}} {
		if at(pair[0]) < 0 || at(pair[0]) > at(pair[1]) {
			t.Errorf("got %q, want %s before %s", got, pair[0], pair[1])
		}
	}
	if len(got) != 8 {
		t.Errorf("got %q, want each needed module once", got)
	}
	if _, err := loadOrder("", nil); err == nil {
		t.Error("an empty modules.dep: got no error")
	}
}

// skip skips, or fails if ASSAY_MUST_RUN names tools.
func skip(t *testing.T, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "tools") {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestInitrdIsACpioThatLinuxReads(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		skip(t, "cpio is not installed")
	}
	var packed bytes.Buffer
	zw, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	zw.Write([]byte("MODULE"))
	zw.Close()
	var initrd bytes.Buffer
	err = makeInitrd(&initrd, bootFiles{
		busybox: []byte("BUSYBOX"), dep: "kernel/fs/ext4/ext4.ko.xz:\n",
		modules: map[string][]byte{"kernel/fs/ext4/ext4.ko.xz": packed.Bytes()},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command("cpio", "-i", "--quiet", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = dir, &initrd
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	for name, want := range map[string]string{"bin/busybox": "BUSYBOX", "modules/00-ext4.ko": "MODULE", "init": string(initScript)} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: got %.20q, %v, want %.20q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "init")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("init: got %v, %v, want it executable", info, err)
	}
}

func TestMissingModuleIsAnError(t *testing.T) {
	err := makeInitrd(io.Discard, bootFiles{dep: "kernel/fs/ext4/ext4.ko:\n"})
	if err == nil || !strings.Contains(err.Error(), "it is in modules.dep, but not in the image") {
		t.Errorf("got %v", err)
	}
}

// tarOf makes a tar stream of regular files.
func tarOf(t *testing.T, when time.Time, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for name, data := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: when, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		tw.Write([]byte(data))
	}
	tw.Close()
	return b.Bytes()
}

var completeRoot = map[string]string{
	"./boot/vmlinuz-6.1.0-1":                           "KERNEL",
	"./.assay/bin":                                     "BUSYBOX",
	"./usr/lib/os-release":                             "ID=debian\nVERSION_ID=\"12\"\n# x=y\nPRETTY_NAME=\"Debian 12\"\n",
	"./usr/lib/modules/6.1.0-1/modules.dep":            "kernel/fs/ext4/ext4.ko:\n",
	"./usr/lib/modules/6.1.0-1/kernel/fs/ext4/ext4.ko": "EXT4",
	"./usr/lib/modules/6.1.0-1/kernel/sound/x.ko":      "SOUND",
	"./var/lib/dpkg/status": "Package: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2\nDescription: x\n Status: no\n\n" +
		"Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 3\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n",
}

func TestScanFindsWhatBootingNeeds(t *testing.T) {
	when := time.Unix(1_700_000_000, 0)
	got, err := scan(bytes.NewReader(tarOf(t, when, completeRoot)), when.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if string(got.boot.kernel) != "KERNEL" || got.boot.release != "6.1.0-1" || string(got.boot.busybox) != "BUSYBOX" || len(got.boot.modules) != 1 {
		t.Errorf("got kernel %q release %q busybox %q modules %v", got.boot.kernel, got.boot.release, got.boot.busybox, got.boot.modules)
	}
	if want := []Package{{"a", "3", "all"}, {"b", "1:2", "amd64"}}; !slices.Equal(got.packages, want) {
		t.Errorf("packages: got %v, want %v", got.packages, want)
	}
	if got.osRelease["VERSION_ID"] != "12" || got.epoch != when.Unix() {
		t.Errorf("got version %q and epoch %d", got.osRelease["VERSION_ID"], got.epoch)
	}
	late, err := scan(bytes.NewReader(tarOf(t, when, completeRoot)), when)
	if err != nil || late.epoch != 0 {
		t.Errorf("files of the build itself: got epoch %d, %v, want 0", late.epoch, err)
	}
}

func TestScanNamesWhatIsMissing(t *testing.T) {
	for name := range completeRoot {
		if strings.Contains(name, "/kernel/") {
			continue
		}
		files := map[string]string{}
		for n, data := range completeRoot {
			if n != name {
				files[n] = data
			}
		}
		if _, err := scan(bytes.NewReader(tarOf(t, time.Now(), files)), time.Now()); err == nil || !strings.Contains(err.Error(), "want one") {
			t.Errorf("without %s: got %v, want an error", name, err)
		}
	}
	if _, err := scan(strings.NewReader(strings.Repeat("garbage", 1000)), time.Now()); err == nil {
		t.Error("garbage: got no error")
	}
}

// A scanner that fails must stop the tool that writes to it, and its own words
// must come out, not the tool's broken pipe.
func TestScannerErrorWins(t *testing.T) {
	_, err := whileScanning(time.Now(), func(w io.Writer) error {
		_, err := w.Write(bytes.Repeat([]byte("x"), 1<<20))
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "image files") {
		t.Errorf("got %v, want the scanner's error", err)
	}
	own := errors.New("tool failed")
	if _, err := whileScanning(time.Now(), func(io.Writer) error { return own }); !errors.Is(err, own) || err != own {
		t.Errorf("got %v, want the tool's error as it is", err)
	}
}

func TestOverlayIsAlwaysTheSame(t *testing.T) {
	k, _ := theCatalog.find("debian-12")
	var a, b bytes.Buffer
	if err := errors.Join(writeOverlay(&a, overlay(k, []byte("agent"))), writeOverlay(&b, overlay(k, []byte("agent")))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("got two different overlays, want the same bytes")
	}
	found := map[string]*tar.Header{}
	tr := tar.NewReader(&a)
	for {
		h, err := tr.Next()
		if err != nil {
			break
		}
		found[h.Name] = h
	}
	if h := found[agentPath]; h == nil || h.Mode != 0o755 {
		t.Errorf("agent: got %+v, want an executable", h)
	}
	if h := found["etc/sudoers.d/tester"]; h == nil || h.Mode != 0o440 {
		t.Errorf("sudoers: got %+v, want mode 0440", h)
	}
	if h := found["etc/systemd/system/sysinit.target.wants/assay-agent.service"]; h == nil || h.Linkname != "/"+unitPath {
		t.Errorf("agent's unit: got %+v, want it enabled", h)
	}
	if found[unitPath] == nil {
		t.Errorf("agent's unit is missing")
	}
}

// Two file systems made of the same files at different times have the same bytes.
func TestFileSystemDoesNotKnowItsBuild(t *testing.T) {
	if _, err := exec.LookPath("mke2fs"); err != nil || os.Geteuid() != 0 {
		skip(t, "mke2fs is not installed, or not root")
	}
	make := func() string {
		dir := t.TempDir()
		root, raw := filepath.Join(dir, "root"), filepath.Join(dir, "raw")
		for _, name := range []string{"b", "a", "c"} {
			sub := filepath.Join(root, name)
			if err := errors.Join(os.MkdirAll(sub, 0o755), os.WriteFile(filepath.Join(sub, "file"), []byte(name), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if err := makeFilesystem(context.Background(), "debian-12", 1_700_000_000, root, raw, 256<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("e2fsck", "-fn", raw).CombinedOutput(); err != nil {
			t.Errorf("e2fsck: %v: %s", err, out)
		}
		d, err := digestFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := make()
	time.Sleep(1100 * time.Millisecond) // the kernel's clock for files must tick
	if second := make(); first != second {
		t.Errorf("got %s, then %s, want the same", first, second)
	}
}

func TestFixTimesRefusesOtherFileSystems(t *testing.T) {
	name := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(name, make([]byte, 8192), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := fixTimes(name, 0); err == nil || !strings.Contains(err.Error(), "want ext4") {
		t.Errorf("got %v", err)
	}
}

func TestFindAbsent(t *testing.T) {
	failed := &commandError{Err: errors.New("exit status 25"), Stderr: `Err:66 x
E: Failed to fetch http://mirror/pool/l/linux_5.10%2b262-1_amd64.deb  404  Not Found [IP: 203.0.113.80 80]
E: Failed to fetch http://mirror/pool/l/linux_5.10%2b262-1_amd64.deb  404  Not Found [IP: 203.0.113.80 80]
E: Failed to fetch http://mirror/pool/b/bash_5_amd64.deb  Connection refused
`}
	got := findAbsent(failed)
	if want := []absentPackage{{"linux", "5.10+262-1"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !strings.Contains(string(pins(got)), "Package: linux\nPin: version *5.10+262-1\nPin-Priority: -1\n") {
		t.Errorf("pins: got %s", pins(got))
	}
	if findAbsent(errors.New("other")) != nil {
		t.Error("another error: got packages")
	}
}

func TestPhases(t *testing.T) {
	if got := phaseOf("I: installing remaining packages inside the chroot..."); got != "installing packages" {
		t.Error(got)
	}
	if got := phaseOf("Get:1 something"); got != "" {
		t.Error(got)
	}
}

func qcow2Header(change func(h []byte)) []byte {
	h := make([]byte, 512)
	copy(h, "QFI\xfb")
	binary.BigEndian.PutUint32(h[4:], 3)
	binary.BigEndian.PutUint64(h[24:], 10<<30)
	if change != nil {
		change(h)
	}
	return h
}

// A disk image is a stranger's file: one that names other files of the host must
// never reach qemu-img.
func TestDisksThatLeadElsewhereAreRefused(t *testing.T) {
	mbr := make([]byte, 512)
	mbr[510], mbr[511] = 0x55, 0xAA
	for _, c := range []struct {
		name string
		head []byte
		want string // of the error; empty: accepted
	}{
		{"plain qcow2", qcow2Header(nil), ""},
		{"raw", mbr, ""},
		{"backing file", qcow2Header(func(h []byte) { h[15] = 104 }), "with a backing file"},
		{"external data", qcow2Header(func(h []byte) { h[79] = 4 }), "data in another file"},
		{"encrypted", qcow2Header(func(h []byte) { h[35] = 1 }), "encrypted"},
		{"version", qcow2Header(func(h []byte) { h[7] = 9 }), "qcow2 version 9"},
		{"huge", qcow2Header(func(h []byte) { h[24] = 0xff }), "want at most"},
		{"cut", qcow2Header(nil)[:80], "header of 80 bytes"},
		{"xz", append([]byte("\xfd7zXZ\x00"), mbr...), "xz -d"},
		{"vmdk", append([]byte("KDMV"), mbr...), "VMware"},
		{"text", []byte("hello"), "without a partition table"},
		{"empty", nil, "without a partition table"},
	} {
		_, err := parseHead(c.head, 1<<20)
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFirmwareOf(t *testing.T) {
	disk := func(code byte, kind byte, gpt []byte) []byte {
		d := make([]byte, 1<<20)
		d[0], d[450], d[510], d[511] = code, kind, 0x55, 0xAA
		copy(d[1024:], gpt)
		return d
	}
	for _, c := range []struct {
		head []byte
		want string
	}{
		{disk(0xeb, 0x83, nil), "bios"}, {disk(0xeb, 0xEE, espType), "bios"},
		{disk(0, 0xEE, espType), "uefi"}, {disk(0, 0xEF, nil), "uefi"}, {disk(0, 0x83, nil), ""}, {make([]byte, 1024), ""},
	} {
		if got, err := firmwareOf(c.head); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("got %q, %v, want %q", got, err, c.want)
		}
	}
}

// However a build ends, nothing that it started goes on.
func TestCancelEndsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	pids := filepath.Join(dir, "pid")
	done := make(chan error, 1)
	go func() {
		done <- command{argv: []string{"sh", "-c", "sleep 1000 & echo $! >" + pids + "; wait"}, env: toolEnv()}.run(ctx)
	}()
	pid := waitForPID(t, pids)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	for range 200 {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("process %d still runs", pid)
}

// A tool in a world of its own ignores what asks it to stop: it is killed at once.
func TestCancelEndsAJailedTool(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("only root on Linux makes a world of its own")
	}
	ctx, cancel := context.WithCancel(context.Background())
	pids := filepath.Join(t.TempDir(), "pid")
	done := make(chan error, 1)
	go func() {
		done <- command{argv: []string{"sh", "-c", "echo $$ >" + pids + "; while :; do sleep 1000; done"}, env: toolEnv(), jail: true}.run(ctx)
	}()
	waitForPID(t, pids)
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	case <-time.After(killGrace - time.Second):
		t.Error("it goes on until the time to clean up is over")
		<-done
	}
}

func waitForPID(t *testing.T, name string) int {
	t.Helper()
	for range 400 {
		data, _ := os.ReadFile(name)
		var pid int
		for _, c := range strings.TrimSpace(string(data)) {
			pid = pid*10 + int(c-'0')
		}
		if pid > 0 && bytes.HasSuffix(data, []byte("\n")) {
			return pid
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the tool did not start")
	return 0
}

func TestFullDiskIsExplained(t *testing.T) {
	err := explain(&commandError{Argv: []string{"tar"}, Err: errors.New("exit status 2"), Stderr: "tar: x: No space left on device\n"}, "/store")
	if !strings.Contains(err.Error(), "/store: no space left, an image needs 3072 MiB free") {
		t.Errorf("got %v", err)
	}
	if err := explain(errors.New("other"), "/store"); err.Error() != "other" {
		t.Errorf("got %v", err)
	}
}

func TestTooLittleRoomIsSaidBefore(t *testing.T) {
	if err := needRoom(t.TempDir(), 1<<62); err == nil || !strings.Contains(err.Error(), "free, want at least 4398046511104 MiB") {
		t.Errorf("got %v", err)
	}
	if err := needRoom(t.TempDir(), 0); err != nil {
		t.Error(err)
	}
}

func TestMissingToolsAreNamedAtOnce(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := needTools(Tools())
	if err == nil || !strings.HasPrefix(err.Error(), "mmdebstrap, tar, mke2fs, qemu-img") || !strings.Contains(err.Error(), `run "assay doctor --fix"`) {
		t.Errorf("got %v", err)
	}
}

// TestExtraChangesWhatIsBuilt proves that extras are part of what an image is
// known by, so that another extra is another image.
func TestExtraChangesWhatIsBuilt(t *testing.T) {
	plain, _ := theCatalog.find("debian-12")
	seen := map[string]string{plain.diskDigest(): "none"}
	for name, extra := range map[string]Extra{
		"name":     {},
		"packages": {Packages: []string{"aide"}},
		"kernel":   {Kernel: "linux-image-amd64"},
		"file":     {Files: []ExtraFile{{Name: "etc/x", Mode: 0o644, Text: "x"}}},
		"unit":     {Unmask: []string{"serial-getty@ttyS0.service"}},
	} {
		extra.Like = "debian-12"
		k, ok := BuildOptions{Extra: &extra}.known("mine")
		if !ok {
			t.Fatalf("%s: debian-12 cannot be built", name)
		}
		if same := seen[k.diskDigest()]; same != "" {
			t.Errorf("%s: got the same digest as %s", name, same)
		}
		seen[k.diskDigest()] = name
	}
}

func TestExtraNeedsANameOfItsOwn(t *testing.T) {
	for name, extra := range map[string]Extra{
		"debian-12": {Like: "debian-12"},    // the catalog's
		"mine":      {Like: "ubuntu-22.04"}, // not built
		"other":     {Like: "debian-99"},
		"../up":     {Like: "debian-12"},
	} {
		if err := extra.check(name); err == nil {
			t.Errorf("%s like %s: got no error, want one", name, extra.Like)
		}
	}
}
