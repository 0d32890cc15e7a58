package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"assay/vm"
)

// sweeper is a driver that notes whose machines it was asked to destroy.
type sweeper struct {
	vm.Driver
	asked []string
}

func (s *sweeper) Name() string { return "sweeper" }
func (s *sweeper) Sweep(_ context.Context, owner string) (int, error) {
	s.asked = append(s.asked, owner)
	return 1, nil
}

// TestSweepScratch proves that the machines of a killed shell are destroyed in the
// hypervisor too, and those of a living one left alone.
func TestSweepScratch(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard)
	a.home = t.TempDir()
	dir, done, err := a.scratch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "shell-1")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &sweeper{}
	if err := a.sweepScratch(t.Context(), []vm.Driver{d}); err != nil || len(d.asked) > 0 {
		t.Errorf("while it lives: got %v swept (%v), want nothing", d.asked, err)
	}
	done()
	if err := a.sweepScratch(t.Context(), []vm.Driver{d}); err != nil || !slices.Equal(d.asked, []string{"shell-1"}) {
		t.Errorf("after its death: got %v swept (%v), want shell-1", d.asked, err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("its folder is still there")
	}
}
