package parallels

import (
	"testing"

	"assay/drivers/drivertest"
	"assay/vm"
)

// TestSuite runs the suite on clones of a virtual machine with Parallels Tools.
func TestSuite(t *testing.T) {
	d, p := install(t)
	p.have("Debian")
	drivertest.Run(t, drivertest.Config{Driver: d, Image: vm.Image{Name: "template:Debian"}})
}
