package images

import (
	"os"
	"syscall"
)

// attributes makes a tool die with this process. A jailed one is the first
// process of its own world: when it is killed the kernel kills the rest, and
// with the last of them go the mounts.
func (c command) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.alone() {
		attr.Pdeathsig = syscall.SIGKILL
		attr.Cloneflags = syscall.CLONE_NEWPID
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	return attr
}

// alone reports whether the tool is the first process of a world of its own. The
// kernel keeps every signal from such a one that it has no handler for, but the
// last; and with the last it loses nothing, since its mounts go with it.
func (c command) alone() bool { return c.jail && os.Geteuid() == 0 }

// askGroup asks the process group that p leads to stop.
func askGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGTERM) }

// killGroup kills what is left of the process group that p led.
func killGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }
