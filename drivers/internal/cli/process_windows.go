package cli

import (
	"os/exec"
	"syscall"
)

// alone gives a child a process group of its own, so that Ctrl-C is the parent's.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
