//go:build linux

package capture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assay/vm"
)

// However many files of holes a guest makes, the bytes that are hashed are bounded,
// and files that hold something still are.
func TestHashBudget(t *testing.T) {
	var b hashBudget
	for i := range 4 {
		if err := b.spend(hashLimit, 4096); err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	for _, c := range []struct {
		size, held int64
		want       string
	}{
		{hashLimit, 0, "of all files are hashed"}, {hashLimit + 1, hashLimit + 1, "at most 1073741824 are hashed"},
		{1 << 43, 4096, "at most 1073741824 are hashed"}, {hashLimit, hashLimit, ""}, {100, 4096, ""}, {hashLimit, -1, "of all files"},
	} {
		if err := b.spend(c.size, c.held); fmt.Sprint(err) != "<nil>" && c.want == "" || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%d bytes, %d held: got %v, want %q", c.size, c.held, err, c.want)
		}
	}
	for b.spend(hashLimit, hashLimit) == nil {
	}
	if b.all > hashTotal {
		t.Errorf("%d bytes are hashed, want %d at most", b.all, int64(hashTotal))
	}
}

// The host and the agent leave the same files of holes unread, and say the same of
// times that no number of nanoseconds can tell.
func TestBothSidesBoundAlike(t *testing.T) {
	root := writeTree(t, sampleTree)
	check(t, os.MkdirAll(filepath.Join(root, "usr"), 0o755))
	check(t, os.WriteFile(filepath.Join(root, "etc/holes"), nil, 0o644))
	check(t, os.Truncate(filepath.Join(root, "etc/holes"), 1<<40))
	late := unix.Timespec{Sec: 9_300_000_000, Nsec: 1}
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, "etc/motd"), []unix.Timespec{late, late}, 0))
	var st unix.Stat_t
	check(t, unix.Stat(filepath.Join(root, "etc/motd"), &st))
	if st.Mtim.Sec != late.Sec {
		t.Skipf("this file system keeps second %d as %d", late.Sec, st.Mtim.Sec)
	}
	began := time.Now()
	image := diskOf(t, root) // whose maker keeps 32 bits of seconds
	if out, err := exec.Command("/sbin/debugfs", "-w", "-R", fmt.Sprintf("sif /etc/motd mtime @%d", late.Sec), image).CombinedOutput(); err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	host, err := OfDisk(t.Context(), []vm.Layer{{ID: "a", Path: image, Format: "raw"}}, Options{})
	check(t, err)
	guest := collectFiles(t, Dir(root))
	for name, attr := range map[string]string{"/etc/holes": "unread", "/etc/motd": "mtime"} {
		h, g := host.find(File, name), guest.find(File, name)
		if h == nil || g == nil || h.Attrs[attr] == "" || h.Attrs[attr] != g.Attrs[attr] {
			t.Errorf("%s: the host says %v, the guest %v", name, h, g)
		}
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}
