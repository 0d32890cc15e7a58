package images

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"assay/platform"
)

// tempPrefix begins the names of all temporary folders of this room.
const tempPrefix = "assay-image-"

// tempDir is the private folders of one build. Its lock tells a live build from
// what a killed one left.
type tempDir struct {
	path   string // in the store: what is finished here is renamed to its place
	shared string // where tools work; a rootless build's other user ids reach it
	locks  []*os.File
}

// temp makes the temporary folders of a build, and removes those of the dead.
func (s *Store) temp() (*tempDir, error) {
	s.sweepTemp()
	t := &tempDir{}
	var err error
	if t.path, err = t.add(filepath.Join(s.dir, "tmp")); err != nil {
		return nil, err
	}
	if t.shared = t.path; os.Geteuid() != 0 {
		err = t.share()
	}
	if err != nil {
		t.remove()
		return nil, err
	}
	return t, nil
}

// add makes a locked folder in parent. The lock is beside the folder, because
// the folder itself may become a version.
func (t *tempDir) add(parent string) (string, error) {
	path, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(path))
	}
	t.locks = append(t.locks, f)
	return path, errors.Join(platform.Lock(f, platform.Exclusive), os.Chmod(path, 0o711))
}

// share makes a folder that the user's subordinate ids can write, and that
// nobody else finds: its parent cannot be listed. The store is of no use for it,
// because homes are closed to other ids.
func (t *tempDir) share() error {
	parent, err := t.add(os.TempDir())
	if err != nil {
		return err
	}
	if t.shared, err = os.MkdirTemp(parent, ""); err != nil {
		return err
	}
	return os.Chmod(t.shared, 0o777)
}

// remove removes the folders, where they still are, and their locks.
func (t *tempDir) remove() {
	for _, f := range t.locks {
		path := strings.TrimSuffix(f.Name(), ".lock")
		if removeAll(path); !exists(path) {
			os.Remove(f.Name())
		}
		f.Close()
	}
}

// sweepTemp removes what dead builds left and returns the bytes freed.
func (s *Store) sweepTemp() int64 {
	var freed int64
	for _, parent := range []string{filepath.Join(s.dir, "tmp"), os.TempDir()} {
		found, _ := filepath.Glob(filepath.Join(parent, tempPrefix+"*.lock"))
		for _, lock := range found {
			freed += sweep(lock)
		}
	}
	return freed
}

// sweep removes the folder that a lock belongs to, if nobody holds the lock and
// it is this user's.
func sweep(lock string) int64 {
	f, err := os.OpenFile(lock, os.O_RDWR|platform.NoFollow, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	info, err := f.Stat()
	// A young lock may belong to a build that is about to take it.
	if err != nil || time.Since(info.ModTime()) < 5*time.Second || !platform.Owned(info) ||
		platform.Lock(f, platform.Exclusive) != nil {
		return 0
	}
	path := strings.TrimSuffix(lock, ".lock")
	freed := occupied(path)
	if removeAll(path); exists(path) {
		return 0
	}
	os.Remove(lock)
	return freed
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// removeAll removes a temporary tree. In one that a rootless build made, files
// belong to the user's subordinate ids, and only a user namespace can remove
// them. A tree with something mounted in it is left alone: its files could be
// the host's.
func removeAll(path string) {
	if hasMounts(path) || os.RemoveAll(path) == nil || os.Geteuid() == 0 {
		return
	}
	if inner, err := filepath.Glob(filepath.Join(path, "*", "*")); err == nil && len(inner) > 0 {
		exec.Command("mmdebstrap", append([]string{"--unshare-helper", "rm", "-rf", "--one-file-system", "--"}, inner...)...).Run()
	}
	os.RemoveAll(path)
}

// hasMounts reports whether anything is mounted below path, or cannot be known.
func hasMounts(path string) bool {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return false // not Linux
	}
	return err != nil || strings.Contains(string(data), " "+escapeMount(path)+"/")
}

// escapeMount writes a path as mountinfo does.
func escapeMount(path string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(path)
}
