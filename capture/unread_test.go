package capture

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that is too large to be hashed cannot change in silence, even if it
// keeps its size and its time of modification.
func TestLargeFileThatChangedIsSeen(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "big"))
	check(t, err)
	defer f.Close()
	check(t, f.Truncate(hashLimit+1))
	look := func() Capture {
		check(t, os.Chtimes(f.Name(), time.Unix(1, 0), time.Unix(1, 0)))
		c, err := Collect(t.Context(), Dir(root), Options{Only: []string{"files"}})
		check(t, err)
		return c
	}
	before := look()
	time.Sleep(20 * time.Millisecond) // the kernel's clock for inodes is coarse
	_, err = f.WriteAt([]byte("B"), hashLimit/2)
	check(t, err)
	changes, _, err := Diff(before, look(), DiffOptions{})
	check(t, err)
	if len(changes) != 1 || changes[0].Key != "/big" || len(changes[0].Fields) != 1 || changes[0].Fields[0] != "changed" {
		t.Errorf("got %+v, want /big modified in the field changed", changes)
	}
}
