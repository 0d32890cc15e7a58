package seed

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWholeSectors proves that the disk is as long as a CD can be: VirtualBox
// 7.2.22 refused one that was not (VERR_NOT_SUPPORTED).
func TestWholeSectors(t *testing.T) {
	for _, n := range []int{0, 1, 2047, 2048, 1000003} {
		path := filepath.Join(t.TempDir(), "seed.iso")
		if err := Write(path, Options{Agent: make([]byte, n), ID: "x"}); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size()%sector != 0 {
			t.Errorf("agent of %d bytes: got a disk of %d bytes, %v; want whole sectors of %d", n, info.Size(), err, sector)
		}
	}
}
