//go:build unix && !linux

package cli

import "syscall"

// apart gives a child a process group of its own. These kernels do not end it
// with its parent; its standard input closes, and Sweep finds what it made.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
