//go:build linux

package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"assay/vm"
)

func TestHostRefusesTooMuch(t *testing.T) {
	h := host{cpus: 4, memory: 24 << 30, available: 8 << 30, disk: 100 << 30}
	for name, tc := range map[string]struct {
		cpus         int
		memory, disk int64
		want         string
	}{
		"fits":          {4, 8 << 30, 100 << 30, ""},
		"image's disk":  {1, 1 << 30, 0, ""},
		"cpus":          {5, 1 << 30, 0, "cpus: got 5, want at most 4, which is what this host has"},
		"memory":        {1, 64 << 30, 0, "memory: got 64 GiB, want at most 24 GiB, which is what this host has"},
		"memory in use": {1, 12 << 30, 0, "memory: got 12 GiB, want at most 8 GiB free of 24 GiB, which is what this host has"},
		"disk":          {1, 1 << 30, 1 << 40, "disk: got 1 TiB, want at most 100 GiB free, which is what this host has"},
	} {
		err := h.allows(tc.cpus, tc.memory, tc.disk)
		if tc.want == "" && err != nil {
			t.Errorf("%s: got %v", name, err)
		}
		if tc.want != "" && (err == nil || err.Error() != tc.want) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
}

func TestFullDiskIsRefused(t *testing.T) {
	err := host{cpus: 1, memory: 1 << 30, available: 1 << 30, disk: 1 << 20}.allows(1, 1<<20, 0)
	if _, ok := errors.AsType[*vm.ResourceError](err); !ok {
		t.Errorf("got %v, want a *vm.ResourceError", err)
	}
}

func TestReadHost(t *testing.T) {
	h, err := readHost(t.TempDir())
	if err != nil || h.cpus < 1 || h.memory < 64<<20 || h.available > h.memory || h.disk == 0 {
		t.Errorf("got %+v, %v", h, err)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{512 << 20: "512 MiB", 3 << 29: "1.5 GiB", 1 << 50: "1024 TiB", 1: "0 MiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

// image makes files that look like an image; nothing boots from them.
func image(t *testing.T) vm.Image {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return vm.Image{Name: "none", Disk: disk, Format: "raw", Size: 1 << 20}
}

// A refusal comes before anything starts and leaves no folder.
func TestLaunchRefusesBeforeStarting(t *testing.T) {
	d := &driver{tools: &tools{QEMU: "/nonexistent/qemu", Accel: accelTCG}}
	good := vm.Spec{Name: "m", Owner: "r", CPUs: 1, Memory: 128 << 20}
	for name, tc := range map[string]struct {
		change func(*vm.Spec)
		is     func(error) bool
	}{
		"cpus":      {func(s *vm.Spec) { s.CPUs = 100000 }, is[*vm.ResourceError]},
		"memory":    {func(s *vm.Spec) { s.Memory = 1 << 50 }, is[*vm.ResourceError]},
		"disk":      {func(s *vm.Spec) { s.Disk = 1 << 60 }, is[*vm.ResourceError]},
		"no cpus":   {func(s *vm.Spec) { s.CPUs = 0 }, isSomething},
		"no memory": {func(s *vm.Spec) { s.Memory = 1 << 20 }, isSomething},
		"allow":     {func(s *vm.Spec) { s.Network.Mode = vm.NetworkAllow }, is[*vm.UnsupportedError]},
		"format":    {func(s *vm.Spec) { s.Image.Format = "vmdk" }, isSomething},
		"no disk":   {func(s *vm.Spec) { s.Image.Disk += ".gone" }, func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
		"no kernel": {func(s *vm.Spec) { s.Image.Kernel = "/nonexistent/vmlinuz" }, func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			spec.Image = image(t)
			spec.Dir = filepath.Join(t.TempDir(), "m")
			tc.change(&spec)
			m, err := d.Launch(context.Background(), spec)
			if m != nil || err == nil || !tc.is(err) {
				t.Errorf("got %v, %v", m, err)
			}
			if _, err := os.Stat(spec.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
		})
	}
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func isSomething(err error) bool { return err != nil }
