package platform

import (
	"golang.org/x/sys/unix"
)

// memory: this kernel compresses and swaps before it refuses, so that all of it
// counts as available.
func memory() (all, available int64) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0
	}
	return int64(n), int64(n)
}

// ExchangeDirs makes each of two folders the other, in one step.
func ExchangeDirs(a, b string) error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) }

func virtualisation() Virtual {
	if n, err := unix.SysctlUint32("kern.hv_support"); err == nil && n == 1 {
		return Virtual{Usable: true, Found: "Hypervisor.framework"}
	}
	return Virtual{Found: "no Hypervisor.framework (kern.hv_support is 0)", Fix: "in a virtual machine, enable nested virtualisation on its host; an old Mac can only emulate"}
}
