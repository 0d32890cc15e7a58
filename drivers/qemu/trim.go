//go:build linux

package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Suffixes of what lies beside a template's folder.
const (
	lockSuffix  = ".lock"
	draftSuffix = ".new"
)

// Kinds of lock: many machines use a template, one process makes or removes it.
const (
	lockShared    = unix.LOCK_SH
	lockExclusive = unix.LOCK_EX
)

// lockPause is how often a lock that another process holds is tried again.
const lockPause = 20 * time.Millisecond

// lockFile locks the file at path, made if need be, and waits for it until ctx
// ends. Closing the file gives the lock up.
func lockFile(ctx context.Context, path string, kind int) (*os.File, error) {
	for {
		f, err := tryLock(path, kind)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, fmt.Errorf("lock: %s: %w", path, err)
		}
	}
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// tryLock locks the file at path, or returns EWOULDBLOCK.
func tryLock(path string, kind int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), kind|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	if !sameFile(f, path) { // removed by Trim between the opening and the lock
		f.Close()
		return nil, &os.PathError{Op: "lock", Path: path, Err: unix.EWOULDBLOCK}
	}
	return f, nil
}

// sameFile reports whether the open file is still the one at path.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// An entry is one template, or what a dead process left of one.
type entry struct {
	dir    string
	size   int64 // bytes on disk
	used   time.Time
	orphan bool // no use to anybody: its image is gone, it is damaged, or it was never finished
}

// Trim removes from dir the templates whose image is gone, damaged ones and drafts
// that no process works on, and then the least recently used templates until the rest
// takes at most limit bytes on disk. Templates in use stay. It returns the
// bytes freed.
func Trim(dir string, limit int64) (freed int64, err error) {
	entries, err := listTemplates(dir)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, e := range entries {
		total += e.size
	}
	var errs []error
	for _, e := range entries {
		if !e.orphan && total <= limit {
			continue
		}
		removed, err := e.remove()
		errs = append(errs, err)
		if removed {
			total -= e.size
			freed += e.size
		}
	}
	return freed, errors.Join(append(errs, trimLocks(dir))...)
}

// trimLocks removes the locks of templates that are not there and that nobody is
// about to make. Who opened one meanwhile notices, as tryLock does.
func trimLocks(dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*"+lockSuffix))
	for _, path := range locks {
		name := strings.TrimSuffix(path, lockSuffix)
		if exists(name) || exists(name+draftSuffix) {
			continue
		}
		lock, busy := tryLock(path, lockExclusive)
		if busy != nil {
			continue
		}
		if !exists(name) && !exists(name+draftSuffix) {
			err = errors.Join(err, os.Remove(path))
		}
		lock.Close()
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// listTemplates lists what is in dir, orphans first, then by last use.
func listTemplates(dir string) ([]entry, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, n := range names {
		if !n.IsDir() {
			continue
		}
		e, err := readEntry(filepath.Join(dir, n.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.orphan != b.orphan {
			if a.orphan {
				return -1
			}
			return 1
		}
		return cmp.Or(a.used.Compare(b.used), strings.Compare(a.dir, b.dir))
	})
	return entries, nil
}

// readEntry measures one folder.
func readEntry(dir string) (entry, error) {
	e := entry{dir: dir}
	var err error
	if e.size, err = allocated(dir); err != nil {
		return e, err
	}
	f, err := readFacts(dir)
	e.orphan = err != nil || f.orphaned() || f.intact(dir) != nil || strings.HasSuffix(dir, draftSuffix)
	if info, err := os.Stat(filepath.Join(dir, templateName)); err == nil {
		e.used = info.ModTime()
	}
	return e, nil
}

// remove deletes a template and its lock, unless somebody holds it.
func (e entry) remove() (bool, error) {
	dir := strings.TrimSuffix(e.dir, draftSuffix)
	path := dir + lockSuffix
	lock, err := tryLock(path, lockExclusive)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	return true, errors.Join(os.RemoveAll(e.dir), os.RemoveAll(dir+troublesSuffix), os.Remove(path))
}
