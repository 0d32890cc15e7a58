package images

import (
	"os"
	"syscall"
	"time"
)

// attributes makes a tool die with this process. A jailed one is the first
// process of its own world: when it is killed the kernel kills the rest, and
// with the last of them go the mounts.
func (c command) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if c.jail && os.Geteuid() == 0 {
		attr.Pdeathsig = syscall.SIGKILL
		attr.Cloneflags = syscall.CLONE_NEWPID
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	return attr
}

// endGroup asks the process group that p leads to stop, and kills what is left of it later.
func endGroup(p *os.Process) {
	syscall.Kill(-p.Pid, syscall.SIGTERM)
	time.AfterFunc(killGrace, func() { killGroup(p) })
}

// killGroup kills what is left of the process group that p led.
func killGroup(p *os.Process) { syscall.Kill(-p.Pid, syscall.SIGKILL) }
