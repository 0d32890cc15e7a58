package cli

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// freeSpace returns the bytes that a user can write where dir is.
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

// memoryOfHost returns how much memory there is, and how much could be given now.
func memoryOfHost() (all, available int64, err error) {
	var status struct { // MEMORYSTATUSEX
		length, load    uint32
		total, free     uint64
		page, pageFree  uint64
		space, spaceTop uint64
		extended        uint64
	}
	status.length = uint32(unsafe.Sizeof(status))
	if ok, _, err := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&status))); ok == 0 {
		return 0, 0, fmt.Errorf("GlobalMemoryStatusEx: %w", err)
	}
	return int64(status.total), int64(status.free), nil
}
