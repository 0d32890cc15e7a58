//go:build linux

package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"assay/vm"

	"golang.org/x/sys/unix"
)

// minMemory is the least memory that any guest of the catalog boots in.
const minMemory = 64 << 20

// headroom is the free space without which no machine starts: its overlay
// would fill at once.
const headroom = 64 << 20

// A host is what this computer can give.
type host struct {
	cpus      int
	memory    int64 // bytes, all of it
	available int64 // bytes that could be given now
	disk      int64 // free bytes where the machine's files go
}

// readHost measures the host; dir is where the machine's files will be.
func readHost(dir string) (host, error) {
	h := host{cpus: runtime.NumCPU()}
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return h, err
	}
	if h.memory, err = kiloField(info, "MemTotal:"); err != nil {
		return h, err
	}
	if h.available, err = kiloField(info, "MemAvailable:"); err != nil {
		return h, err
	}
	if limit := cgroupLimit(); limit > 0 {
		h.memory, h.available = min(h.memory, limit), min(h.available, limit)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return h, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	h.disk = int64(fs.Bavail) * fs.Bsize
	return h, nil
}

// cgroupLimit is the memory limit of the control group that this process sees
// as its root, such as a container's; 0 if there is none.
func cgroupLimit() int64 {
	data, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	if err != nil {
		return 0
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return limit
}

// allows returns a *vm.ResourceError for the first thing that the host cannot
// give. disk is what the script asked for, 0 if it did not.
func (h host) allows(cpus int, memory, disk int64) error {
	switch {
	case cpus > h.cpus:
		return &vm.ResourceError{What: "cpus", Got: strconv.Itoa(cpus), Has: strconv.Itoa(h.cpus)}
	case memory > h.memory:
		return &vm.ResourceError{What: "memory", Got: bytesText(memory), Has: bytesText(h.memory)}
	case memory > h.available:
		return &vm.ResourceError{What: "memory", Got: bytesText(memory), Has: fmt.Sprintf("%s free of %s", bytesText(h.available), bytesText(h.memory))}
	case max(disk, headroom) > h.disk:
		return &vm.ResourceError{What: "disk", Got: bytesText(max(disk, headroom)), Has: bytesText(h.disk) + " free"}
	}
	return nil
}

// roomFor returns an error that names path if its file system is full.
func roomFor(path string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &fs); err != nil || int64(fs.Bavail)*fs.Bsize > 1<<20 {
		return nil
	}
	return &os.PathError{Op: "write", Path: path, Err: unix.ENOSPC}
}

// bytesText writes a size as people do: 512 MiB, 1.5 GiB.
func bytesText(n int64) string {
	unit, name := int64(1<<20), "MiB"
	switch {
	case n >= 1<<40:
		unit, name = 1<<40, "TiB"
	case n >= 1<<30:
		unit, name = 1<<30, "GiB"
	}
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/float64(unit), 'f', 1, 64), ".0") + " " + name
}
