package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memoryOfHost returns how much memory there is, and how much could be given
// now, within the limit of the control group that this process sees as its root,
// such as a container's.
func memoryOfHost() (all, available int64, err error) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	if all, err = kiloField(string(info), "MemTotal:"); err != nil {
		return 0, 0, err
	}
	if available, err = kiloField(string(info), "MemAvailable:"); err != nil {
		return 0, 0, err
	}
	if data, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 {
			all, available = min(all, limit), min(available, limit)
		}
	}
	return all, available, nil
}

// kiloField reads a line such as "MemTotal:  16384 kB".
func kiloField(info, name string) (int64, error) {
	_, rest, _ := strings.Cut("\n"+info, "\n"+name)
	var n int64
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return 0, fmt.Errorf("/proc/meminfo: %s got %.40q, want a number: %w", name, rest, err)
	}
	return n << 10, nil
}
