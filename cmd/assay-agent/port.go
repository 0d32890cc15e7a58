//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"assay/guest"

	"golang.org/x/sys/unix"
)

const portPath = "/dev/virtio-ports/" + guest.Port

// servePort serves the port at path for ever: udev may yet have to make it, the
// host comes and goes, and a port may be unplugged.
func servePort(ctx context.Context, s *guest.Server, path string) error {
	announced := false
	for ctx.Err() == nil {
		p, err := openPort(path)
		if err != nil {
			sleep(ctx, 20*time.Millisecond)
			continue
		}
		if !announced {
			announced = true
			p.announce()
		}
		for err == nil && ctx.Err() == nil {
			p.waitForHost(ctx)
			err = s.Serve(ctx, p.line())
		}
		p.close()
	}
	return nil
}

// announceMax is how long a host may take to hear of a new agent.
const announceMax = 2 * time.Second

// announce tells a host that is there already that its agent has gone. One that
// does not listen misses nothing but an early word.
func (p *port) announce() {
	if p.deserted() {
		return
	}
	p.f.SetWriteDeadline(time.Now().Add(announceMax))
	guest.Announce(p.f)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// A port is a virtio-serial port, or a serial port as it was before there were
// any others. It stays open while hosts come and go: closing it would drop what
// the next host has already said.
type port struct {
	f    *os.File
	raw  syscall.RawConn
	wake int // epoll descriptor, edge-triggered; -1: none

	streaming bool // the last read gave a page or more

	serial bool   // nobody tells when a host goes: see serialLine
	ahead  []byte // of a serial port: read, and not given to a line yet
}

func openPort(path string) (*port, error) {
	// A terminal must not become the agent's own, nor wait for a carrier.
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	serial, err := makeRaw(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	p, err := newPort(f)
	if err == nil {
		p.serial = serial
	}
	return p, err
}

// newPort takes f over. It must be one that the runtime can wait for.
func newPort(f *os.File) (*port, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	p := &port{f: f, raw: raw, wake: -1}
	raw.Control(func(fd uintptr) { p.wake = edges(int(fd)) })
	return p, nil
}

// edges returns an epoll descriptor that tells when fd's state changes.
func edges(fd int) int {
	wake, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLHUP | unix.EPOLLET, Fd: int32(fd)}
	if unix.EpollCtl(wake, unix.EPOLL_CTL_ADD, fd, &event) != nil {
		unix.Close(wake)
		return -1
	}
	return wake
}

func (p *port) close() {
	p.f.Close()
	if p.wake >= 0 {
		unix.Close(p.wake)
	}
}

// waitForHost returns when the host has opened its end. While it has not, the
// port is readable and reads nothing, so a plain poll would spin; the edge
// that its coming makes wakes us at once, and the nap is for edges missed.
func (p *port) waitForHost(ctx context.Context) {
	for ctx.Err() == nil && p.deserted() {
		const nap = 50 // milliseconds
		events := make([]unix.EpollEvent, 1)
		if n, err := unix.EpollWait(p.wake, events, nap); err != nil && n < 0 && !errors.Is(err, unix.EINTR) {
			sleep(ctx, nap*time.Millisecond)
		}
	}
}

// deserted reports whether no host has the other end open.
func (p *port) deserted() bool {
	var fds [1]unix.PollFd
	p.raw.Control(func(fd uintptr) {
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		unix.Poll(fds[:], 0)
	})
	return fds[0].Revents&unix.POLLHUP != 0
}

// line returns a stream for one Serve. Closing it interrupts what reads and
// writes, and leaves the port open.
func (p *port) line() io.ReadWriteCloser {
	p.f.SetDeadline(time.Time{})
	if p.serial {
		return &serialLine{portLine: portLine{p}}
	}
	return portLine{p}
}

type portLine struct{ *port }

func (l portLine) Write(b []byte) (int, error) { return l.f.Write(b) }
func (l portLine) Close() error                { return l.f.SetDeadline(time.Unix(1, 0)) }

// Read fills b as far as it can without waiting twice: the kernel gives at most
// a page at a time. A read of nothing means that the host has gone: io.EOF.
func (l portLine) Read(b []byte) (total int, err error) {
	paused := !l.streaming
	for {
		again := false
		rerr := l.raw.Read(func(fd uintptr) bool {
			total, err = readAvailable(int(fd), b)
			again = errors.Is(err, unix.EAGAIN) && !paused
			return again || !errors.Is(err, unix.EAGAIN)
		})
		if rerr != nil {
			return total, rerr
		}
		if !again {
			l.streaming = total >= page
			return total, err
		}
		time.Sleep(streamPause)
		paused = true
	}
}

// In the middle of a stream, a short pause lets several pages arrive, where to be
// woken for each would cost more than to read it. The device holds 128.
const (
	page        = 4096
	streamPause = 300 * time.Microsecond
)

// readAvailable reads until b is full or nothing is there; EAGAIN means that
// nothing was there to begin with.
func readAvailable(fd int, b []byte) (total int, err error) {
	for total < len(b) {
		n, err := unix.Read(fd, b[total:])
		switch {
		case n > 0:
			total += n
		case errors.Is(err, unix.EINTR):
		case total > 0:
			return total, nil
		case err == nil:
			return 0, io.EOF
		default:
			return 0, err
		}
	}
	return total, nil
}
