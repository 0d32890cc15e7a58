package cli

import (
	"context"
	"fmt"
	"time"

	"assay/guest"
	"assay/vm"
)

// settleMax is how long a booted guest may take to finish its start-up jobs. The
// first boot of a cloud image takes minutes where it is emulated.
const settleMax = 10 * time.Minute

// settleScript waits for systemd's start-up jobs and for udev, whose workers
// load drivers long after the agent answers, and idle for seconds before they
// end: in a clone, each would be a process that has gone. A guest without them
// just syncs.
const settleScript = `systemctl is-system-running --wait; udevadm settle --timeout=60
udevd=$(systemctl show --property MainPID --value systemd-udevd) && for i in $(seq 50); do
	[ "$udevd" -gt 0 ] && pgrep -P "$udevd" || break
	sleep 0.2
done
sync`

// When a guest counts as idle: quietWindows windows in a row in which its machine
// used at most quietCPU. An idle guest uses a hundredth to a thirtieth of a core.
const (
	quietWindow  = time.Second
	quietWindows = 2
	quietCPU     = 50 * time.Millisecond
	quietMax     = 30 * time.Second
)

// Settle waits until a booted guest has nothing left to do, so that no copy of it
// does it again, and so that copies do not change by themselves.
func Settle(ctx context.Context, c *guest.Client, m vm.Usager) error {
	_, err := c.Exec(ctx, guest.Command{Shell: settleScript, User: "root", Timeout: settleMax}, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	last, err := m.Usage(ctx)
	if err != nil {
		return err
	}
	window := time.NewTicker(quietWindow)
	defer window.Stop()
	for quiet, end := 0, time.Now().Add(quietMax); quiet < quietWindows && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-window.C:
		}
		now, err := m.Usage(ctx)
		if err != nil {
			return err
		}
		quiet++
		if now.CPU-last.CPU > quietCPU {
			quiet = 0
		}
		last = now
	}
	return nil
}
