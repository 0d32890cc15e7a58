package main

import (
	"strings"
	"testing"

	"assay/drivers/fake"
	"assay/images"
)

// TestCannotBuild proves that where no images are built the user learns where
// they come from.
func TestCannotBuild(t *testing.T) {
	store, err := images.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n := need{"debian-12", fake.New()}
	if err := cannotBuild("linux", store, n); err != nil {
		t.Errorf("on Linux: %v", err)
	}
	err = cannotBuild("darwin", store, n)
	if err == nil || !strings.Contains(err.Error(), "assay image import FILE --name debian-12") {
		t.Errorf("on macOS: got %v, want where to get it", err)
	}
}
