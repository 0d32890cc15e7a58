package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lock waits until this caller alone builds or imports name. The kernel frees
// the lock when its holder dies. unlock is never nil when err is.
func (s *Store) lock(ctx context.Context, name string, progress func(string)) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "locks", name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", name, err)
	}
	for told := false; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("image %s: lock: %w", name, err)
		}
		if !told {
			progress("waiting for another build of " + name)
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("image %s: waiting for another build: %w", name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tempDir is a private folder of one build. Its lock tells a live build from
// what a killed one left.
type tempDir struct {
	path string
	lock *os.File
}

// temp makes a temporary folder in the store, and removes those of the dead.
func (s *Store) temp(name string) (*tempDir, error) {
	s.sweepTemp()
	return newTemp(filepath.Join(s.dir, "tmp"), name)
}

func newTemp(parent, name string) (*tempDir, error) {
	path, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return nil, err
	}
	// The lock is beside the folder, because the folder itself may become a version.
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		os.RemoveAll(path)
		return nil, err
	}
	return &tempDir{path, f}, os.Chmod(path, 0o755)
}

// remove removes the folder, if it is still there, and its lock.
func (t *tempDir) remove() {
	removeAll(t.path)
	os.Remove(t.lock.Name())
	t.lock.Close()
}

// sweepTemp removes what dead builds left and returns the bytes freed.
func (s *Store) sweepTemp() int64 {
	var freed int64
	entries, _ := os.ReadDir(filepath.Join(s.dir, "tmp"))
	for _, e := range entries {
		path := filepath.Join(s.dir, "tmp", e.Name())
		if e.IsDir() && isStale(path) {
			freed += occupied(path)
			removeAll(path)
			os.Remove(path + ".lock")
		}
	}
	return freed
}

// isStale reports whether nobody holds a temporary folder. One without a lock
// file is stale only when it is old: its maker may be about to lock it.
func isStale(path string) bool {
	f, err := os.Open(path + ".lock")
	if err != nil {
		info, statErr := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist) && statErr == nil && time.Since(info.ModTime()) > time.Minute
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// removeAll removes a tree. In a tree that a rootless build made, files belong
// to the user's subordinate ids, and only a user namespace can remove them.
func removeAll(path string) {
	if os.RemoveAll(path) == nil || os.Geteuid() == 0 || !strings.HasPrefix(filepath.Base(path), "debian-") {
		return
	}
	exec.Command("mmdebstrap", "--unshare-helper", "rm", "-rf", "--", path).Run()
	os.RemoveAll(path)
}
