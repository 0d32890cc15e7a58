package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay/platform"
)

// lock waits until this caller alone builds or imports name. The kernel frees
// the lock when its holder dies. unlock is never nil when err is.
func (s *Store) lock(ctx context.Context, name string, progress func(string)) (unlock func(), err error) {
	for told := false; ; {
		f, err := s.tryLock(name)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, platform.ErrLocked) {
			return nil, fmt.Errorf("%s: lock: %w", name, err)
		}
		if !told {
			progress("waiting for another build of " + name)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: waiting for another build: %w", name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tryLock takes the lock of a name, or returns platform.ErrLocked.
func (s *Store) tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "locks", name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = platform.Lock(f, platform.Exclusive)
	if err == nil && !isAt(f, f.Name()) {
		err = platform.ErrLocked // trimmed between the opening and the lock: another file has the name
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// isAt reports whether the open file is still the one at path.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(mine, now)
}

// trimLocks removes the locks of names that the store has no image of, and that
// nobody builds.
func (s *Store) trimLocks() {
	entries, _ := os.ReadDir(filepath.Join(s.dir, "locks")) // what cannot be listed stays
	for _, e := range entries {
		if exists(filepath.Join(s.dir, e.Name())) {
			continue
		}
		if f, err := s.tryLock(e.Name()); err == nil {
			_ = os.Remove(f.Name()) // a lock that stays does no harm
			f.Close()
		}
	}
}
