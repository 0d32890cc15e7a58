package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"assay/drivers/all"
	"assay/engine"
	"assay/results"
	"assay/vm"
)

func (a *app) gcCommand() *cobra.Command {
	var older time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "gc",
		Short: "Destroy what dead runs left, and free disk space",
		Long: `Destroy the machines that dead runs left behind, and remove saved guests and
versions of images that nothing uses any more. Results stay; with --reports-older,
old report folders go too ("assay report" can write them again).`,
		Example: `  assay gc
  assay gc --reports-older 720h`,
		Args: operands(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error { return a.gc(c.Context(), older, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().DurationVar(&older, "reports-older", 0, "remove report folders older than this; 0 keeps them")
	return c
}

// A freed is how many bytes "assay gc" made free.
type freed struct {
	SavedGuests int64 `json:"saved_guests"`
	Others      int64 `json:"images_and_reports"`
}

func (a *app) gc(ctx context.Context, older time.Duration, asJSON bool) error {
	saved, other, err := a.freeImages()
	errs := []error{a.gcRuns(ctx), err}
	for _, d := range a.drivers() {
		if t, ok := d.(vm.Trimmer); ok {
			n, err := t.Trim(ctx)
			other += n
			errs = append(errs, err)
		}
	}
	other += diskUsage(filepath.Join(a.home, "proofs"))
	errs = append(errs, a.sweepScratch(ctx, a.drivers()))
	other -= diskUsage(filepath.Join(a.home, "proofs"))
	if older > 0 {
		n, err := removeOlder(filepath.Join(a.home, "runs"), older)
		other += n
		errs = append(errs, err)
	}
	errs = append(errs, a.sayFreed(saved, other, asJSON))
	return errors.Join(errs...)
}

func (a *app) sayFreed(saved, other int64, asJSON bool) error {
	if asJSON {
		return a.printJSON(freed{saved, other})
	}
	a.printf("%s freed: %s of saved guests, %s of images and reports\n", bytesText(saved+other), bytesText(saved), bytesText(other))
	return nil
}

// gcRuns sweeps the dead runs. Without results there is nothing to close.
func (a *app) gcRuns(ctx context.Context) error {
	dead := len(engine.DeadRuns(a.home))
	if dead == 0 {
		return nil
	}
	db, err := results.Open(a.dbPath())
	if err != nil {
		return err
	}
	defer db.Close()
	return a.sweepDead(ctx, a.drivers(), db)
}

// freeImages removes saved guests and versions of images that nothing uses, and
// returns the bytes that each took.
func (a *app) freeImages() (saved, versions int64, err error) {
	store, err := a.store()
	if err != nil {
		return 0, 0, err
	}
	versions, err = store.Trim(24 * time.Hour)
	saved, savedErr := all.Trim(a.home) // after: a saved guest whose image is gone goes too
	return saved, versions, errors.Join(err, savedErr)
}

// removeOlder removes the entries of a folder that are older than age, and
// returns the bytes that they took.
func removeOlder(dir string, age time.Duration) (int64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("gc: %w", err)
	}
	var freed int64
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < age {
			continue
		}
		path := filepath.Join(dir, e.Name())
		freed += diskUsage(path)
		errs = append(errs, os.RemoveAll(path))
	}
	return freed, errors.Join(errs...)
}
