package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal. All three ends of the command are it.
func (p *process) openTerminal(size Size, owner *account, s Streams) (theirs []*os.File, err error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	p.tty, p.stdin = master, nil
	var n int
	if cerr := control(master, func(fd int) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
	}); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	setSize(master, size)
	name := fmt.Sprintf("/dev/pts/%d", n)
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		slave.Chown(owner.uid, -1)
	}
	p.stdin = master
	p.taps = []*tap{{r: master, w: s.Stdout, done: make(chan struct{})}}
	return []*os.File{slave, slave, slave}, nil
}

// follow gives the terminal its new sizes until the command is over.
func (p *process) follow(sizes <-chan Size) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			setSize(p.tty, size)
		case <-p.over:
			return
		}
	}
}

// setSize makes a terminal tell its size; one that can't has none.
func setSize(tty *os.File, size Size) {
	control(tty, func(fd int) {
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
}

// control calls fn with f's descriptor and leaves f non-blocking.
func control(f *os.File, fn func(fd int)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { fn(int(fd)) })
}
