package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"assay/vm"
)

// statTick is the unit of the guest's /proc/stat, on every Linux.
const statTick = 10 * time.Millisecond

// GuestUsage asks a Linux guest what it uses itself, where the hypervisor does
// not say what it costs the host: the time that its processors were busy since
// its start, and the memory that it could not give to somebody else. A guest that
// lies is believed.
func GuestUsage(ctx context.Context, g Guest) (vm.Usage, error) {
	out, err := g.Exec(ctx, []string{"cat", "/proc/stat", "/proc/meminfo"}, nil)
	if err != nil {
		return vm.Usage{}, fmt.Errorf("usage: %w", err)
	}
	return parseGuestUsage(string(out))
}

// parseGuestUsage reads /proc/stat and /proc/meminfo, one after the other.
func parseGuestUsage(text string) (vm.Usage, error) {
	var user, nice, system, idle, wait, irq, soft, total, free int64
	for line := range strings.Lines(text) {
		var err error
		switch name, rest, _ := strings.Cut(line, " "); name {
		case "cpu":
			_, err = fmt.Sscan(rest, &user, &nice, &system, &idle, &wait, &irq, &soft)
		case "MemTotal:":
			_, err = fmt.Sscan(rest, &total)
		case "MemAvailable:":
			_, err = fmt.Sscan(rest, &free)
		}
		if err != nil {
			return vm.Usage{}, fmt.Errorf("usage: got %.80q: %w", line, err)
		}
	}
	busy := user + nice + system + irq + soft
	if total <= 0 || free < 0 || free > total || busy < 0 {
		return vm.Usage{}, fmt.Errorf("usage: got %d kB of %d kB available, %d ticks; want /proc/stat and /proc/meminfo", free, total, busy)
	}
	return vm.Usage{CPU: time.Duration(busy) * statTick, Memory: (total - free) << 10}, nil
}
