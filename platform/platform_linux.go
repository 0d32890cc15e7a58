package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memory obeys the limit of the control group that this process sees as its
// root, such as a container's.
func memory() (all, available int64) {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return sysinfo()
	}
	all, available = kibibytes(string(info), "MemTotal:"), kibibytes(string(info), "MemAvailable:")
	if data, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && limit > 0 {
			all, available = min(all, limit), min(available, limit)
		}
	}
	return all, available
}

// kibibytes reads a line such as "MemTotal:  16384 kB".
func kibibytes(info, name string) int64 {
	_, rest, _ := strings.Cut("\n"+info, "\n"+name)
	var n int64
	if _, err := fmt.Sscan(rest, &n); err != nil {
		return 0
	}
	return n << 10
}

// sysinfo is memory where /proc is not mounted.
func sysinfo() (all, available int64) {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0, 0
	}
	unit := int64(s.Unit)
	return int64(s.Totalram) * unit, int64(s.Freeram+s.Bufferram) * unit
}

// ExchangeDirs makes each of two folders the other, in one step.
func ExchangeDirs(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

func virtualisation() Virtual {
	info, _ := os.ReadFile("/proc/cpuinfo") // a processor that says nothing has no flags
	flags := strings.Fields(string(info))
	return judge(flags, openKVM())
}

// openKVM tries the device that gives guests the processor.
func openKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		f.Close()
	}
	return err
}

// judge says what the processor's flags and the kernel's device mean together.
// A device that opens proves nothing yet: drivers run a guest before they trust it.
func judge(flags []string, device error) Virtual {
	name, module := "", ""
	switch {
	case slices.Contains(flags, "vmx"):
		name, module = "VT-x", "kvm_intel"
	case slices.Contains(flags, "svm"):
		name, module = "AMD-V", "kvm_amd"
	}
	inside := slices.Contains(flags, "hypervisor")
	switch {
	case name == "" && inside:
		return Virtual{Found: "no VT-x or AMD-V: this host is a virtual machine itself", Fix: "enable nested virtualisation for it on its own host; without it guests are emulated, which works and is slower"}
	case name == "":
		return Virtual{Found: "no VT-x or AMD-V", Fix: "enable virtualisation (VT-x, AMD-V, SVM) in the firmware's (BIOS/UEFI) settings; without it guests are emulated, which works and is slower"}
	case device == nil:
		return Virtual{Usable: true, Found: name}
	case errors.Is(device, fs.ErrPermission):
		return Virtual{Found: name + ", but /dev/kvm is closed to this user", Fix: "sudo usermod -aG kvm $USER, and log in again"}
	case errors.Is(device, fs.ErrNotExist):
		return Virtual{Found: name + ", but there is no /dev/kvm", Fix: "sudo modprobe " + module + "; if the kernel says \"disabled by bios\", enable virtualisation in the firmware's (BIOS/UEFI) settings"}
	}
	return Virtual{Found: fmt.Sprintf("%s, but /dev/kvm does not open: %v", name, device), Fix: "enable virtualisation (VT-x, AMD-V, SVM) in the firmware's (BIOS/UEFI) settings"}
}
