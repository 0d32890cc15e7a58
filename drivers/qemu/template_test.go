//go:build linux

package qemu

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// Who loses the race to make a template must not wait for the exclusive lock:
// the winner's machine holds a lease, and so the lock, for as long as it lives.
func TestMakeGivesWayToAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "template")
	lease, err := tryLock(dir+lockSuffix, lockShared)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = (&driver{}).make(ctx, tools{}, hardware{}, dir, func(phase string) { t.Errorf("got phase %q, want none", phase) })
	if err != nil {
		t.Errorf("got %v, want to give way at once", err)
	}
}
