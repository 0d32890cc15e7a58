//go:build unix

package cli

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// alone makes a child, and the children that it has, end as one.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = apart()
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
