// Package all lists the drivers that assay is built with.
package all

import (
	"path/filepath"

	"assay/drivers/fake"
	"assay/drivers/qemu"
	"assay/vm"
)

// Drivers returns the drivers, the default one first. home is assay's state
// folder: what a driver keeps between runs goes into its templates folder.
func Drivers(home string) []vm.Driver {
	return []vm.Driver{
		qemu.New(qemu.Config{
			TemplateDir: filepath.Join(home, "templates"),
			RunDir:      filepath.Join(home, "run"),
		}),
		fake.New(),
	}
}
