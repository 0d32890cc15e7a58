package cli

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// memoryOfHost returns how much memory there is. This kernel compresses and
// swaps before it refuses, so that all of it counts as available.
func memoryOfHost() (all, available int64, err error) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0, fmt.Errorf("hw.memsize: %w", err)
	}
	return int64(n), int64(n), nil
}
