package platform_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"assay/platform"
)

// TestLock proves that a lock keeps others out until its file is closed.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	holder, other := open(), open()
	if err := platform.Lock(holder, platform.Shared); err != nil {
		t.Fatal(err)
	}
	if err := platform.Lock(other, platform.Exclusive); !errors.Is(err, platform.ErrLocked) {
		t.Errorf("beside a shared lock: got %v, want ErrLocked", err)
	}
	if err := platform.Lock(other, platform.Shared); err != nil {
		t.Errorf("two shared locks: %v", err)
	}
	holder.Close()
	if err := platform.Lock(other, platform.Exclusive); err != nil {
		t.Errorf("after the holder is gone: %v", err)
	}
}

// TestFreeSpace proves that a folder that is not there yet has its parent's space.
func TestFreeSpace(t *testing.T) {
	dir := t.TempDir()
	here, err := platform.FreeSpace(dir)
	if err != nil || here <= 0 {
		t.Fatalf("got %d (%v), want some", here, err)
	}
	if later, err := platform.FreeSpace(filepath.Join(dir, "a", "b")); err != nil || later <= 0 {
		t.Errorf("of a folder to come: got %d (%v), want some", later, err)
	}
}

// TestMemory proves that there is no more to give than there is.
func TestMemory(t *testing.T) {
	all, available := platform.Memory()
	if all <= 0 || available <= 0 || available > all {
		t.Errorf("got %d of %d, want both, and no more than all", available, all)
	}
}

// TestExchangeDirs proves that readers of a name find one folder, then the other.
func TestExchangeDirs(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, p := range []string{a, b} {
		if err := os.MkdirAll(filepath.Join(p, "was-"+filepath.Base(p)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := platform.ExchangeDirs(a, b); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b, "was-a")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(a, "was-b")); err != nil {
		t.Error(err)
	}
}
