package platform

import (
	"errors"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// NoFollow is the flag of os.OpenFile that refuses a symbolic link; 0 where
// there is none.
const NoFollow = 0

func lock(f *os.File, kind Kind) error {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if kind == Exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	// The byte lies far beyond any content: on this system a lock also keeps
	// others from reading.
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return err
}

func freeSpace(dir string) (int64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, &os.PathError{Op: "free space", Path: dir, Err: err}
	}
	return int64(free), nil
}

var globalMemoryStatus = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

func memory() (all, available int64) {
	var status struct { // MEMORYSTATUSEX
		length, load    uint32
		total, free     uint64
		page, pageFree  uint64
		space, spaceTop uint64
		extended        uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	if ok, _, _ := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0, 0
	}
	return int64(status.total), int64(status.free)
}

// ExchangeDirs makes each of two folders the other. This system cannot do it in
// one step: for a moment b is missing.
func ExchangeDirs(a, b string) error {
	aside := b + ".aside"
	if err := os.Rename(b, aside); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return errors.Join(err, os.Rename(aside, b))
	}
	return os.Rename(aside, a)
}

func occupied(info fs.FileInfo) int64 { return info.Size() }

// owned cannot tell cheaply; the user's own folders are the user's.
func owned(fs.FileInfo) bool { return true }

// firmwareEnabled is PF_VIRT_FIRMWARE_ENABLED.
const firmwareEnabled = 21

// virtualisation: with Hyper-V running, this system is a guest of it and the
// firmware's setting is hidden; then the "hypervisor present" is what counts, and
// Hyper-V's own driver tells.
func virtualisation() Virtual {
	if windows.IsProcessorFeaturePresent(firmwareEnabled) {
		return Virtual{Usable: true, Found: "virtualisation is enabled in the firmware"}
	}
	return Virtual{Found: "virtualisation is off in the firmware, or Hyper-V has it",
		Fix: "enable virtualisation (VT-x, AMD-V, SVM) in the firmware's (BIOS/UEFI) settings, unless Hyper-V runs already"}
}
