package engine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"assay/vm"
)

// leastMemory is below what any guest needs to boot.
const leastMemory = 128 << 20

// shrink returns the largest machine that fits, if err says that spec asks for
// more than the host has, and in words how it is smaller. Memory and disk become
// powers of two, so that something is left for the host.
func shrink(spec vm.Spec, err error) (smaller vm.Spec, what string, ok bool) {
	var r *vm.ResourceError
	if !errors.As(err, &r) {
		return spec, "", false
	}
	has, ok := amount(r.Has)
	if !ok {
		return spec, "", false
	}
	switch r.What {
	case "cpus":
		spec.CPUs, ok = int(has), has >= 1 && has < int64(spec.CPUs)
		what = fmt.Sprintf("cpus = %d", spec.CPUs)
	case "memory":
		has = powerOfTwo(has)
		ok = has >= leastMemory && has < spec.Memory
		spec.Memory, what = has, fmt.Sprintf("memory = %q", Size(has))
	case "disk":
		has = powerOfTwo(has)
		ok = has >= spec.Image.Size && has > 0 && has < spec.Disk
		spec.Disk, what = has, fmt.Sprintf("disk = %q", Size(has))
	default:
		ok = false
	}
	return spec, what, ok
}

// amount reads how much a *vm.ResourceError says that the host has: "4",
// "1.5 GiB", "512 MiB free of 2 GiB".
func amount(text string) (int64, bool) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(words[0], 64)
	if err != nil || n < 0 || n > 1<<50 {
		return 0, false
	}
	if len(words) > 1 {
		switch words[1] {
		case "KiB":
			n *= 1 << 10
		case "MiB":
			n *= 1 << 20
		case "GiB":
			n *= 1 << 30
		case "TiB":
			n *= 1 << 40
		}
	}
	return int64(n), true
}

// powerOfTwo returns the largest one that is no more than n; 0 if there is none.
func powerOfTwo(n int64) int64 {
	if n < 1 {
		return 0
	}
	p := int64(1)
	for p <= n/2 {
		p *= 2
	}
	return p
}
