package libvirt

import (
	"testing"
	"time"

	"assay/drivers/drivertest"
)

// TestSystem runs the suite on the system's libvirt as root: QEMU runs as the
// user that libvirt keeps for it.
func TestSystem(t *testing.T) {
	t.Parallel()
	d, dm := systemDriver(t)
	d.cfg.Agents = agents
	drivertest.Run(t, drivertest.Config{Driver: d, Image: realImage(t), Timeout: rowMax, Existing: func(t testing.TB) (string, func()) {
		return theirs(t, d, realImage(t), dm.dir).existing(t, dm.uri())
	}})
}

// rowMax is how long a row may take: the first makes a template, and the suites
// of the system's libvirt and of a user's own run side by side.
const rowMax = 15 * time.Minute
