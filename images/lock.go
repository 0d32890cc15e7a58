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
	f, err := os.OpenFile(filepath.Join(s.dir, "locks", name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for told := false; ; {
		err := platform.Lock(f, platform.Exclusive)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, platform.ErrLocked) {
			f.Close()
			return nil, fmt.Errorf("%s: lock: %w", name, err)
		}
		if !told {
			progress("waiting for another build of " + name)
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%s: waiting for another build: %w", name, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
