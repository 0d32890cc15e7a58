//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"assay/guest"

	"golang.org/x/sys/unix"
)

// serveVsock serves the host's connections to a port for ever. The kernel may yet
// have to load what carries them.
func serveVsock(ctx context.Context, s *guest.Server, port uint32) error {
	l, err := listenVsock(port)
	for ; err != nil; l, err = listenVsock(port) {
		if errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		sleep(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return nil
		}
	}
	return l.serve(ctx, s)
}

func listenVsock(port uint32) (*listener, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port})
	if err == nil {
		err = unix.Listen(fd, 4)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("vsock port %d: %w", port, err)
	}
	return newListener(fd, fromHost), nil
}

// fromHost reports whether a peer is the host: any user of the guest may connect
// to the port too, and the agent does what root may.
func fromHost(peer unix.Sockaddr) bool {
	vm, ok := peer.(*unix.SockaddrVM)
	return ok && vm.CID == unix.VMADDR_CID_HOST
}

// A listener is a listening socket of a family that package net does not know.
type listener struct {
	f       *os.File
	trusted func(peer unix.Sockaddr) bool
}

// newListener takes over a listening socket that does not block.
func newListener(fd int, trusted func(unix.Sockaddr) bool) *listener {
	return &listener{os.NewFile(uintptr(fd), "listener"), trusted}
}

// serve serves what connects until ctx ends. There is one line at a time: the
// next one cuts it.
func (l *listener) serve(ctx context.Context, s *guest.Server) error {
	stop := context.AfterFunc(ctx, func() { l.f.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer l.f.Close()
	cut := func() {}
	for {
		conn, err := l.accept()
		cut()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var line context.Context
		line, cut = context.WithCancel(ctx)
		go s.Serve(line, conn)
	}
}

// accept returns the next connection of a trusted peer.
func (l *listener) accept() (*os.File, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	for {
		var conn int
		var peer unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			conn, peer, failed = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			return failed != unix.EAGAIN
		})
		switch {
		case err != nil:
			return nil, err
		case failed == unix.EINTR || failed == unix.ECONNABORTED:
		case failed != nil:
			return nil, failed
		case l.trusted(peer):
			return os.NewFile(uintptr(conn), "line"), nil
		default:
			unix.Close(conn)
		}
	}
}
