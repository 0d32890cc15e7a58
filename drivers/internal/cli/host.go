package cli

import (
	"runtime"
	"strconv"
	"strings"

	"assay/platform"
	"assay/vm"
)

// headroom is the free space without which no machine starts: its disk would
// fill at once.
const headroom = 64 << 20

// Fits checks what spec asks of this host, before anything starts: what is
// larger than the host is a *vm.ResourceError. It knows the free space where
// spec.Dir is; a hypervisor that keeps its disks elsewhere has its own say.
func Fits(spec vm.Spec) error {
	free, err := platform.FreeSpace(spec.Dir)
	if err != nil {
		return err
	}
	memory, available := platform.Memory() // 0 where the system does not say
	switch disk := max(spec.Disk, headroom); {
	case spec.CPUs > runtime.NumCPU():
		return &vm.ResourceError{What: "cpus", Got: strconv.Itoa(spec.CPUs), Has: strconv.Itoa(runtime.NumCPU())}
	case memory > 0 && spec.Memory > memory:
		return &vm.ResourceError{What: "memory", Got: Bytes(spec.Memory), Has: Bytes(memory)}
	case memory > 0 && spec.Memory > available:
		return &vm.ResourceError{What: "memory", Got: Bytes(spec.Memory), Has: Bytes(available) + " free of " + Bytes(memory)}
	case disk > free:
		return &vm.ResourceError{What: "disk", Got: Bytes(disk), Has: Bytes(free) + " free"}
	}
	return nil
}

// MiB returns bytes as whole MiB, rounded up: the unit of most commands.
func MiB(bytes int64) int64 { return bytes>>20 + min(bytes&(1<<20-1), 1) }

// Bytes writes a size as people do: 512 MiB, 1.5 GiB.
func Bytes(n int64) string {
	unit, name := int64(1<<20), "MiB"
	switch {
	case n >= 1<<40:
		unit, name = 1<<40, "TiB"
	case n >= 1<<30:
		unit, name = 1<<30, "GiB"
	}
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/float64(unit), 'f', 1, 64), ".0") + " " + name
}
