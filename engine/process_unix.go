//go:build unix

package engine

import "syscall"

// apart gives a child a session of its own.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
