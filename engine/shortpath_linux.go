package engine

import (
	"fmt"
	"os"
	"path/filepath"
)

// shorten calls f with a name of path that goes through this process's own view
// of the folder.
func shorten(path string, f func(string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
