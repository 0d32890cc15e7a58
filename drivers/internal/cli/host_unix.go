//go:build unix

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// freeSpace returns the bytes that a user can write where dir is.
func freeSpace(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}
