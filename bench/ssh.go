//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// sshUser is who logs in; it may use sudo.
const sshUser = "tester"

// sshOptions make ssh and scp speak to the machine and to nobody else.
func (p *plain) sshOptions() []string {
	return []string{
		"-F", "none", "-i", keyPath(p.st.home), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "Port=" + strconv.Itoa(p.port),
	}
}

// ssh runs a command in the guest over a connection of its own.
func (p *plain) ssh(ctx context.Context, extra []string, command ...string) (string, error) {
	args := append(p.sshOptions(), extra...)
	return p.st.command(ctx, "ssh", append(append(args, sshUser+"@127.0.0.1"), command...)...)
}

// waitSSH returns when a command has run over ssh.
func (p *plain) waitSSH(ctx context.Context) error {
	return poll(ctx, 50*time.Millisecond, func() error {
		_, err := p.ssh(ctx, []string{"-o", "ConnectTimeout=5"}, "true")
		return err
	})
}

// A master is an open connection that later calls of ssh and scp share.
type master struct {
	p      *plain
	cmd    *exec.Cmd
	wait   func() error
	socket string
}

// openMaster opens a connection. It lasts until close.
func (p *plain) openMaster(ctx context.Context) (*master, error) {
	m := &master{p: p, socket: filepath.Join(p.dir, "ssh-"+strconv.FormatInt(time.Now().UnixNano(), 36))}
	args := append(p.sshOptions(), "-M", "-N", "-S", m.socket, sshUser+"@127.0.0.1")
	m.cmd = exec.Command("ssh", args...)
	var err error
	if m.wait, err = start(m.cmd, syscall.SIGKILL); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err = poll(ctx, 10*time.Millisecond, func() error {
		_, err := p.ssh(ctx, []string{"-S", m.socket, "-O", "check"})
		return err
	})
	if err != nil {
		m.close()
		return nil, fmt.Errorf("ssh: %w", err)
	}
	return m, nil
}

// run runs a command in the guest.
func (m *master) run(ctx context.Context, command string) (string, error) {
	return m.p.ssh(ctx, []string{"-S", m.socket}, command)
}

// scp copies a file; one of the two begins with "guest:".
func (m *master) scp(ctx context.Context, from, to string) error {
	args := append(m.p.sshOptions(), "-o", "ControlPath="+m.socket, "-o", "User="+sshUser, "-o", "HostName=127.0.0.1", "-q")
	_, err := m.p.st.command(ctx, "scp", append(args, from, to)...)
	return err
}

// close ends the connection. One that is asked politely waits for a command that
// still runs over it.
func (m *master) close() error {
	m.cmd.Process.Kill()
	m.wait() // its exit code says only that it was ended
	return nil
}
