package vm

import (
	"errors"
	"fmt"
)

// UnsupportedError says that a machine lacks a capability. It matches errors.ErrUnsupported.
type UnsupportedError struct {
	Machine string // id of the machine, or name of the driver
	Want    string // what was asked for
	Instead string // what the user can do, if anything
}

func (e *UnsupportedError) Error() string {
	s := fmt.Sprintf("%s: %s is not supported", e.Machine, e.Want)
	if e.Instead != "" {
		s += "; " + e.Instead
	}
	return s
}

func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// BootError is returned by Launch when the guest, not the hypervisor, did not come up.
type BootError struct {
	Err     error
	Console []byte // tail of the console, raw guest bytes, at most 64 KiB
	Log     string // path of the whole console, if it was kept
}

func (e *BootError) Error() string { return "boot: " + e.Err.Error() }
func (e *BootError) Unwrap() error { return e.Err }

// StoppedError is what the line and the operations of a machine say when the
// guest itself ended the machine: it powered off, restarted or panicked. Whether
// that is the subject's doing, its caller knows.
type StoppedError struct {
	How string // "the guest shut itself down (guest-shutdown)"
}

func (e *StoppedError) Error() string { return e.How }

// ResourceError is returned by Launch, before anything starts, when the host
// cannot give what was asked for.
type ResourceError struct {
	What string // cpus, memory, disk
	Got  string // what was asked for: "64 GiB"
	Has  string // what the host has: "24 GiB"
}

func (e *ResourceError) Error() string {
	return fmt.Sprintf("%s: got %s, want at most %s, which is what this host has", e.What, e.Got, e.Has)
}

// UnavailableError is returned by Probe and Launch when the driver cannot be used here.
type UnavailableError struct {
	Driver string
	Reason string // "qemu-system-x86_64 is not installed"
	Fix    string // the next command to type: "apt-get install qemu-system-x86", or words
	Absent bool   // the hypervisor is not on this host at all
}

func (e *UnavailableError) Error() string {
	s := fmt.Sprintf("%s: %s", e.Driver, e.Reason)
	if e.Fix != "" {
		s += "; fix: " + e.Fix
	}
	return s
}
