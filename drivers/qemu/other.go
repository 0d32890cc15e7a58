//go:build !linux

package qemu

import (
	"context"
	"errors"
	"os"
	"runtime"

	"assay/vm"
)

// driver is the QEMU driver, where it cannot be used: it rests on Linux's ways
// with processes, memory and sockets.
type driver struct{}

// New returns the QEMU driver.
func New(Config) vm.Driver { return &driver{} }

func (d *driver) unavailable() error {
	return &vm.UnavailableError{Driver: d.Name(), Reason: "the driver runs on Linux hosts, not on " + runtime.GOOS, Absent: true}
}

// Probe says that it cannot be used.
func (d *driver) Probe(context.Context) (vm.Info, error) { return vm.Info{}, d.unavailable() }

// Launch says that it cannot be used.
func (d *driver) Launch(_ context.Context, spec vm.Spec) (vm.Machine, error) {
	return nil, errors.Join(d.unavailable(), os.RemoveAll(spec.Dir))
}

// Sweep finds nothing: there is nothing.
func (d *driver) Sweep(context.Context, string) (int, error) { return 0, nil }

// Trim frees nothing.
func Trim(string, int64) (int64, error) { return 0, nil }

// Templates lists none.
func Templates(string) ([]Template, error) { return nil, nil }
