package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"assay/vm"
)

// TestRaw proves that an image's bytes arrive, that the disk grows, that what is
// zero takes no room, and that nothing is left of a copy that failed.
func TestRaw(t *testing.T) {
	dir := t.TempDir()
	disk := make([]byte, 8<<20+512)
	rand.Read(disk[:4096])
	rand.Read(disk[len(disk)-512:])
	img := vm.Image{Disk: filepath.Join(dir, "disk"), Format: "raw", Size: int64(len(disk))}
	if err := os.WriteFile(img.Disk, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	path := filepath.Join(dir, "copy")
	if err := Raw(t.Context(), img, path, size); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || len(got) != size || !bytes.Equal(got[:len(disk)], disk) || len(bytes.Trim(got[len(disk):], "\x00")) > 0 {
		t.Errorf("got %d bytes, %v, want the disk's %d and zeroes to %d", len(got), err, len(disk), size)
	}
	if used, err := Occupied(dir); err != nil || used > int64(len(disk))+4<<20 {
		t.Errorf("the folder takes %d bytes, %v, want holes in the copy", used, err)
	}
	if err := Raw(t.Context(), img, path, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: got %v, want fs.ErrExist", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Raw(ctx, img, path+"2", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want context.Canceled", err)
	}
	if _, err := os.Stat(path + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy that failed: got %v, want none", err)
	}
}

// TestFits proves that each thing that is too large is named, before others.
func TestFits(t *testing.T) {
	fits := vm.Spec{Dir: t.TempDir(), CPUs: 1, Memory: 64 << 20}
	if err := Fits(fits); err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string]func(*vm.Spec){
		"cpus":   func(s *vm.Spec) { s.CPUs = 1 << 20 },
		"memory": func(s *vm.Spec) { s.Memory = 1 << 60 },
		"disk":   func(s *vm.Spec) { s.Disk = 1 << 60 },
	} {
		spec := fits
		edit(&spec)
		if e := (*vm.ResourceError)(nil); !errors.As(Fits(spec), &e) || e.What != what || e.Has == "" {
			t.Errorf("%s: got %v, want a *vm.ResourceError about it", what, Fits(spec))
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]int64{0: 0, 1: 1, 1 << 20: 1, 1<<20 + 1: 2, 2 << 30: 2048} {
		if got := MiB(n); got != want {
			t.Errorf("MiB(%d): got %d, want %d", n, got, want)
		}
	}
	for n, want := range map[int64]string{512 << 20: "512 MiB", 3 << 29: "1.5 GiB", 2 << 40: "2 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d): got %q, want %q", n, got, want)
		}
	}
}
