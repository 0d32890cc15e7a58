package libvirt

import (
	"testing"

	"assay/drivers/drivertest"
)

func TestSystem(t *testing.T) {
	d, _ := systemDriver(t)
	drivertest.Run(t, drivertest.Config{Driver: d, Image: realImage(t)})
}
