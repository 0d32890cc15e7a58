package guest_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"testing"

	"assay/guest"
	"assay/guest/guesttest"

	"golang.org/x/sys/unix"
)

// TestLargeFiles moves files of sizes around the limits of direct writing and
// reading, in and out, on a file system that may know it and on one that does not.
func TestLargeFiles(t *testing.T) {
	c := guesttest.Process(t, "")
	for _, where := range []string{openTemp(t), sharedMemory(t)} {
		for _, size := range []int{guest.DirectMin - 1, guest.DirectMin, guest.DirectMin + 4096, guest.DirectMin + 5001, guest.DirectMin + 1<<20} {
			content := make([]byte, size)
			rand.Read(content)
			src, there, back := where+"/src", where+"/there", where+"/back"
			write(t, src, string(content), 0o640)
			if _, err := c.Push(limit(t), src, there, guest.PushOptions{}); err != nil {
				t.Fatalf("%s: %d bytes in: %v", where, size, err)
			}
			same(t, fmt.Sprintf("%s: %d bytes in", where, size), there, content)
			dropCache(t, there)
			if _, err := c.Pull(limit(t), there, back, guest.PullOptions{}); err != nil {
				t.Fatalf("%s: %d bytes out: %v", where, size, err)
			}
			same(t, fmt.Sprintf("%s: %d bytes out", where, size), back, content)
			for _, f := range []string{there, back} {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func sharedMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "assay-test-")
	must(t, err == nil, "/dev/shm")
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func same(t *testing.T, what, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: got %d bytes, %v; want the same %d", what, len(got), err, len(want))
	}
}

// dropCache asks the kernel to forget a file's pages, so that they are read anew.
func dropCache(t *testing.T, path string) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
