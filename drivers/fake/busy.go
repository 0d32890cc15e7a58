package fake

import (
	"time"

	"assay/vm"
)

// busyImage is the image whose machines say that the host is too busy to run
// them for two thirds of the time. Nothing in them is slower for that.
const busyImage = "fake-host-busy"

var _ vm.Waiter = (*machine)(nil)

// Waiting implements vm.Waiter.
func (m *machine) Waiting() func() time.Duration {
	began := time.Now()
	return func() time.Duration {
		if m.spec.Image.Name != busyImage {
			return 0
		}
		return time.Since(began) * 2 / 3
	}
}
