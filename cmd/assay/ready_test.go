package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"assay/drivers/all"
	"assay/drivers/fake"
	"assay/vm"
)

// TestLaunchOfAbsentHypervisor proves that what is not there is said before the
// request is judged: no script can mend it.
func TestLaunchOfAbsentHypervisor(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, d := range all.Drivers(t.TempDir(), func(string) ([]byte, error) { return nil, nil }) {
		if _, err := d.Probe(t.Context()); err == nil {
			continue // made up, or found where installers put it
		}
		img := vm.Image{Name: "debian-12", Arch: "none", Kernel: "vmlinuz", Format: "odd"}
		_, err := d.Launch(t.Context(), vm.Spec{Name: "m", Dir: t.TempDir(), Image: img, Network: vm.Network{Mode: "some"}})
		if _, ok := errors.AsType[*vm.UnavailableError](err); !ok {
			t.Errorf("%s: got %v, want that it is not here", d.Name(), err)
		}
	}
}

// fetcher is a hypervisor's driver whose machines boot no kernel.
type fetcher struct{ vm.Driver }

func (fetcher) Name() string { return "fetcher" }
func (fetcher) Image(context.Context, string) (vm.Image, error) {
	return vm.Image{}, nil
}

// TestBootsKernel proves that an image that a driver cannot boot is refused, with
// the names of others that it can.
func TestBootsKernel(t *testing.T) {
	if err := bootsKernel(fake.New(), "debian-12"); err != nil {
		t.Errorf("made up: %v", err)
	}
	for _, d := range all.Drivers(t.TempDir(), nil) {
		if err := bootsKernel(d, "debian-12"); (err == nil) != (isMadeUp(d) || card(d).Builds != "") {
			t.Errorf("%s: got %v", d.Name(), err)
		}
	}
	var usage *usageError
	err := bootsKernel(fetcher{}, "debian-12")
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "no boot loader") || !strings.Contains(usage.hint, "fetcher has for its own") {
		t.Errorf("got %v", err)
	}
}
