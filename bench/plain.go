//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"assay/guest"
)

// What every contestant's machine has: assay's default.
const (
	guestCPUs   = 1
	guestMemory = 512 << 20
)

// hardware makes a QEMU that has no KVM give the same processor as assay's, with
// the same cache of translated code.
var hardware = []string{"-accel", "tcg,thread=multi,tb-size=64", "-cpu", processor}

const processor = "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand"

// A plain is a QEMU machine as a person would start it: with a port forwarded to
// its ssh server, and QEMU's guest agent.
type plain struct {
	st      *Stage
	cmd     *exec.Cmd
	dir     string
	port    int // of the host, to the guest's ssh
	monitor *line
	agent   *line
	said    bytes.Buffer
	exited  chan struct{}
}

// plainOptions say what is special about a plain machine.
type plainOptions struct {
	memory   int64  // bytes; 0: guestMemory
	base     string // disk under its overlay; empty: the image's
	incoming string // file of a saved state to go on from
}

// startPlain starts a machine and returns when its monitor answers, which is
// long before its guest does. The caller closes it.
func (st *Stage) startPlain(ctx context.Context, opt plainOptions) (*plain, error) {
	dir, err := st.folder("plain")
	if err != nil {
		return nil, err
	}
	p := &plain{st: st, dir: dir, exited: make(chan struct{})}
	if p.port, err = freePort(); err != nil {
		return nil, err
	}
	if opt.base == "" {
		opt.base = st.image.Disk
	}
	if _, err := st.command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", opt.base, p.disk()); err != nil {
		return nil, err
	}
	p.cmd = exec.Command("qemu-system-x86_64", p.args(opt)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.said, &p.said
	wait, err := start(p.cmd, syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	go func() { wait(); close(p.exited) }()
	if err := p.connect(ctx); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *plain) disk() string { return filepath.Join(p.dir, "disk.qcow2") }

// args is QEMU's command line. The port of assay's agent is there, so that the
// agent waits as it does elsewhere; nobody is behind it.
func (p *plain) args(opt plainOptions) []string {
	memory := opt.memory
	if memory == 0 {
		memory = guestMemory
	}
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35,vmport=off",
		"-smp", strconv.Itoa(guestCPUs), "-m", strconv.FormatInt(memory>>20, 10),
		"-drive", "file=" + p.disk() + ",format=qcow2,if=virtio,cache=unsafe,discard=unmap",
		"-netdev", fmt.Sprintf("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", p.port),
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
		"-chardev", "socket,id=qga,path=qga.sock,server=on,wait=off",
		"-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0",
		"-chardev", "null,id=nobody", "-device", "virtserialport,chardev=nobody,name=" + guest.Port,
		"-serial", "file:console", "-qmp", "unix:qmp.sock,server=on,wait=off",
	}, hardware...)
	if opt.incoming != "" {
		args = append(args, "-incoming", "exec:cat '"+opt.incoming+"'")
	}
	return append(args, p.st.kernel()...)
}

// kernel makes a QEMU boot the image as assay does.
func (st *Stage) kernel() []string {
	return []string{"-kernel", st.image.Kernel, "-initrd", st.image.Initrd, "-append", st.image.Append}
}

// connect opens the lines to the monitor and to the agent's port.
func (p *plain) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := poll(ctx, 5*time.Millisecond, func() (err error) {
		select {
		case <-p.exited:
			cancel()
		default:
		}
		p.monitor, err = dial(ctx, filepath.Join(p.dir, "qmp.sock"))
		return err
	})
	if err == nil {
		err = p.monitor.call(ctx, "qmp_capabilities", nil, nil)
	}
	if err == nil {
		p.agent, err = dial(ctx, filepath.Join(p.dir, "qga.sock"))
	}
	if err != nil {
		return fmt.Errorf("qemu: %w: %q", err, bytes.TrimSpace(p.said.Bytes()))
	}
	return nil
}

// human has the monitor execute a line as a person would type it.
func (p *plain) human(ctx context.Context, command string) error {
	var said string
	err := p.monitor.call(ctx, "human-monitor-command", map[string]any{"command-line": command}, &said)
	if err == nil && said != "" {
		err = fmt.Errorf("%s: %q", command, said)
	}
	return err
}

// runTrue runs /bin/true through QEMU's guest agent.
func (p *plain) runTrue(ctx context.Context) error {
	return runTrue(func(name string, args, result any) error { return p.agent.call(ctx, name, args, result) })
}

// firstTrue waits for QEMU's guest agent and runs /bin/true. Before the agent
// listens, what is written to its port waits there.
func (p *plain) firstTrue(ctx context.Context) error {
	if err := p.agent.call(ctx, "guest-ping", nil, nil); err != nil {
		return err
	}
	return p.runTrue(ctx)
}

// close kills the machine and removes its files.
func (p *plain) close() error {
	p.cmd.Process.Kill()
	<-p.exited
	for _, l := range []*line{p.monitor, p.agent} {
		if l != nil {
			l.conn.Close()
		}
	}
	return os.RemoveAll(p.dir)
}

// freePort returns a TCP port of the loopback that nobody uses right now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// sharedPlain returns a booted machine with its ssh open that lasts for the whole
// run. Whoever changes it goes back to its snapshot "clean" first.
func (st *Stage) sharedPlain(ctx context.Context) (*plain, error) {
	if st.plain != nil {
		return st.plain, nil
	}
	p, err := st.startPlain(ctx, plainOptions{})
	if err != nil {
		return nil, err
	}
	st.atEnd(p.close)
	ctx, cancel := context.WithTimeout(ctx, bootDeadline)
	defer cancel()
	if err := errors.Join(p.firstTrue(ctx), p.waitSSH(ctx)); err != nil {
		return nil, fmt.Errorf("boot: %w", err)
	}
	if err := p.human(ctx, "savevm clean"); err != nil {
		return nil, err
	}
	st.plain = p
	return p, nil
}

// bootDeadline bounds a contestant's boot.
const bootDeadline = 10 * time.Minute
