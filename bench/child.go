//go:build linux

package main

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// dieWith has the kernel send a signal to the command's process when the thread
// that started it ends: the caller has locked that.
func dieWith(cmd *exec.Cmd, signal syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = signal
}

// runToEnd runs a command that is asked to end if this process is killed.
func runToEnd(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dieWith(cmd, syscall.SIGTERM)
	return cmd.Run()
}

// start starts a command that gets a signal if this process is killed. wait waits
// for its end, and may be called again.
func start(cmd *exec.Cmd, signal syscall.Signal) (wait func() error, err error) {
	dieWith(cmd, signal)
	started, asked, ended := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread lives as long as the process
		err := cmd.Start()
		started <- err
		if err == nil {
			<-asked // a reader of its pipes comes first
			ended <- cmd.Wait()
		}
	}()
	wait = sync.OnceValue(func() error { close(asked); return <-ended })
	return wait, <-started
}
