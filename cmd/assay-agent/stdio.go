//go:build linux

package main

import (
	"context"
	"os"
	"syscall"

	"assay/guest"
)

// serveStdio serves standard input and output until they end, or ctx does: a
// guest that shuts down must not wait for a process that outlives its SIGTERM
// because nobody says anything to it.
func serveStdio(ctx context.Context, s *guest.Server) error {
	in := interruptible(0, "stdin")
	out := os.NewFile(1, "stdout") // which may be the same socket, and so does not block any more
	return s.Serve(ctx, guest.Stdio(in, out))
}

// interruptible returns an open file whose reads end when it is closed, if it is
// of a kind that can: a pipe, a socket, a terminal.
func interruptible(fd uintptr, name string) *os.File {
	_ = syscall.SetNonblock(int(fd), true) // or it stays as it is
	return os.NewFile(fd, name)
}
