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
			TemplateDir:   templates(home),
			RunDir:        filepath.Join(home, "run"),
			TemplateLimit: templateLimit,
		}),
		fake.New(),
	}
}

// Trim frees what the drivers keep between runs and nobody uses, and returns
// the bytes freed. What is in use stays, and so does what makes the next launch
// fast, within the drivers' own limits.
func Trim(home string) (int64, error) {
	return qemu.Trim(templates(home), templateLimit)
}

// templateLimit is how many bytes on disk saved guests may take.
const templateLimit = 8 << 30

func templates(home string) string { return filepath.Join(home, "templates") }
