package multipass

import (
	"testing"
	"time"

	"assay/drivers/drivertest"
)

func TestConformance(t *testing.T) {
	p := newPlayer(t, "1.16.3")
	p.slow = 20 * time.Millisecond
	d := p.driver()
	img, err := d.(*driver).Image(t.Context(), "22.04")
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, drivertest.Config{Driver: d, Image: img})
}
