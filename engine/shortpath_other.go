//go:build !linux

package engine

import (
	"os"
	"path/filepath"
)

// shorten calls f with a name of path that goes through a link in the folder for
// temporary files.
func shorten(path string, f func(string) error) error {
	dir, err := os.MkdirTemp("", "a")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	link := filepath.Join(dir, "d")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		return err
	}
	return f(filepath.Join(link, filepath.Base(path)))
}
