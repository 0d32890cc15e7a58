package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"assay/platform"
	"assay/vm"
)

// scratchLock is held, shared, by everybody who has machines in the folder for
// scratch: those that prove images, and those of shells. Each machine's folder is
// named after its owner.
const scratchLock = "lock"

// scratchPause is how often a folder that is being swept is tried again.
const scratchPause = 100 * time.Millisecond

// scratch returns the folder for machines that belong to no run. They live no
// longer than until done is called, or this process ends.
func (a *app) scratch(ctx context.Context) (dir string, done func(), err error) {
	f, err := a.openScratch()
	if err != nil {
		return "", nil, err
	}
	for {
		err := platform.Lock(f, platform.Shared)
		if err == nil {
			return filepath.Dir(f.Name()), func() { f.Close() }, nil
		}
		if !errors.Is(err, platform.ErrLocked) {
			f.Close()
			return "", nil, err
		}
		select {
		case <-time.After(scratchPause):
		case <-ctx.Done():
			f.Close()
			return "", nil, context.Cause(ctx)
		}
	}
}

func (a *app) openScratch() (*os.File, error) {
	dir := filepath.Join(a.home, "proofs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, scratchLock), os.O_CREATE|os.O_RDWR, 0o600)
}

// sweepScratch destroys the machines of shells and proofs whose process was
// killed. As long as another process has some there, all are left alone.
func (a *app) sweepScratch(ctx context.Context, drivers []vm.Driver) error {
	f, err := a.openScratch()
	if err != nil {
		return err
	}
	defer f.Close()
	if platform.Lock(f, platform.Exclusive) != nil {
		return nil
	}
	dir := filepath.Dir(f.Name())
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, sweepOwner(ctx, drivers, e.Name()), os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// sweepOwner destroys what an owner left in any hypervisor. One that is not here
// has nothing.
func sweepOwner(ctx context.Context, drivers []vm.Driver, owner string) error {
	var errs []error
	for _, d := range drivers {
		_, err := d.Sweep(ctx, owner)
		if gone := (*vm.UnavailableError)(nil); err != nil && !errors.As(err, &gone) {
			errs = append(errs, fmt.Errorf("sweep: %s: %w", d.Name(), err))
		}
	}
	return errors.Join(errs...)
}
