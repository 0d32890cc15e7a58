package fake_test

import (
	"testing"

	"assay/drivers/drivertest"
	"assay/drivers/fake"
	"assay/vm"
)

func TestConformance(t *testing.T) {
	d := fake.Config{Existing: []string{"mine"}}.New()
	drivertest.Run(t, drivertest.Config{
		Driver: d, Image: vm.Image{Name: "debian-12"}, Ring: drivertest.Memory,
		Existing: func(t testing.TB) (string, func()) {
			return "mine", func() { returned(t, d) }
		},
	})
}

// returned fails unless the user's machine can be had.
func returned(t testing.TB, d vm.Driver) {
	m, err := d.(vm.Adopter).Adopt(t.Context(), "mine", vm.Spec{Name: "look", Owner: "look"})
	if err != nil {
		t.Errorf("the user's machine was not given back: %v", err)
		return
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestConformanceOfABareDriver proves that a driver that can little keeps the
// rest of the contract.
func TestConformanceOfABareDriver(t *testing.T) {
	d := fake.Config{Called: "fake-bare", Without: fake.Bare()}.New()
	drivertest.Run(t, drivertest.Config{Driver: d, Image: vm.Image{Name: "debian-12"}, Ring: drivertest.Memory})
}
