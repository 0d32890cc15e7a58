//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// impostor stands for autopkgtest-virt-qemu: it answers each line with the
// seconds that a time-out of two became, and with its child.
const impostor = `import signal, subprocess, sys, __main__, VirtSubproc
def impostor(): pass
child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("ok", flush=True)
for line in sys.stdin:
    if line == "quit\n":
        break
    VirtSubproc.timeout_start(2)
    print("ok", signal.alarm(0), child.pid, hasattr(__main__, "impostor"), flush=True)
`

// A testbed is patient, its functions are where its library looks for them, and
// what it leaves behind ends with it.
func TestTestbed(t *testing.T) {
	if _, err := os.Stat("/usr/share/autopkgtest/lib/VirtSubproc.py"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "bench") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "autopkgtest-virt-qemu"), []byte(impostor), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	bed, err := (&Stage{dir: dir}).startTestbed(t.Context(), "qemu")
	if err != nil {
		t.Fatal(err)
	}
	words, err := bed.tell("open")
	if err != nil || len(words) != 3 || words[0] != "20" || words[2] != "True" {
		t.Errorf("got %q and %v, want 20 s, a child, and True", words, err)
	}
	if err := bed.close(); err != nil {
		t.Error(err)
	}
	for range 100 {
		if stat, err := os.ReadFile("/proc/" + words[1] + "/stat"); err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("process %s: still there", words[1])
}
