package cli

import (
	"fmt"
	"os"

	"assay/vm"
)

// Admit refuses what a driver cannot do that boots cloud images and has all of a
// network or nothing, and what is larger than this host, before anything starts.
// It makes spec.Dir if it is not there.
func Admit(driver string, spec vm.Spec) error {
	if spec.CPUs < 1 || spec.Memory < 1 {
		return fmt.Errorf("got %d cpus and %d bytes of memory, want at least 1 of each", spec.CPUs, spec.Memory)
	}
	if err := AllOrNothing(driver, spec.Network); err != nil {
		return err
	}
	if err := BootsItself(driver, spec.Image); err != nil {
		return err
	}
	if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
		return err
	}
	return Fits(spec)
}

// AllOrNothing refuses a network that lets only some hosts through, which no
// command of a hypervisor offers.
func AllOrNothing(driver string, n vm.Network) error {
	switch n.Mode {
	case "", vm.NetworkNone, vm.NetworkOpen:
		return nil
	}
	return &vm.UnsupportedError{Machine: driver, Want: fmt.Sprintf("network %q", n.Mode), Instead: `use "none" or "open"`}
}

// BootsItself refuses an image whose disk has no boot loader: assay's own, which
// only a hypervisor that starts a kernel directly can use.
func BootsItself(driver string, img vm.Image) error {
	if img.Kernel == "" {
		return nil
	}
	return &vm.UnsupportedError{
		Machine: driver, Want: fmt.Sprintf("image %q, which has no boot loader,", img.Name),
		Instead: `import a cloud image of that system ("assay image import FILE"), or use the driver qemu`,
	}
}
