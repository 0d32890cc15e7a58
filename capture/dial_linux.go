package capture

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dial connects to a socket of the guest. The connection blocks its thread, for
// at most a second at a time: package net needs twice as long for a short talk.
// It ends with ctx, or a second later.
func (l *local) dial(ctx context.Context, socket string) (io.ReadWriteCloser, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	wait := unix.NsecToTimeval(int64(time.Second))
	for _, option := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, option, &wait); err != nil {
			break
		}
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return talk{ctx, fd}, nil
}

// talk is a connected socket.
type talk struct {
	ctx context.Context
	fd  int
}

func (t talk) Close() error { return unix.Close(t.fd) }

func (t talk) Read(b []byte) (int, error) {
	n, err := t.try(func() (int, error) { return unix.Read(t.fd, b) })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (t talk) Write(b []byte) (int, error) {
	for done := 0; ; {
		n, err := t.try(func() (int, error) { return unix.SendmsgN(t.fd, b[done:], nil, nil, unix.MSG_NOSIGNAL) })
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}

// try calls until there is something to say, or ctx ends.
func (t talk) try(call func() (int, error)) (int, error) {
	for {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := call()
		if err != unix.EINTR && err != unix.EAGAIN {
			return max(n, 0), err
		}
	}
}
