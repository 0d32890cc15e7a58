package fake_test

import (
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/fake"
	"assay/vm"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, drivertest.Config{Driver: fake.New(), Image: vm.Image{Name: "debian-12"}})
}
