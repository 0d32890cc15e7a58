package cli

import (
	"fmt"

	"assay/vm"
)

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
