package cli

import "syscall"

// apart gives a child a process group of its own, which ends with the thread
// that started the child, at the latest.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
