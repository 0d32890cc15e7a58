//go:build linux

// Package guesttest gives tests a line to an agent without a machine: a server
// of the test's own, or the real agent, which the test binary itself becomes.
package guesttest

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"assay/guest"
)

const beAgent = "ASSAY_TEST_AGENT"

// Agent makes the test binary an agent on its standard input and output if
// Process started it as one, and then exits. Call it first in TestMain.
func Agent(handlers map[string]guest.Handler) {
	if os.Getenv(beAgent) == "" {
		return
	}
	s := &guest.Server{System: &guest.OS{Cgroup: os.Getenv(beAgent + "_CGROUP")}, Handlers: handlers}
	if err := s.Serve(context.Background(), guest.Stdio(os.Stdin, os.Stdout)); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// Process starts the test binary as an agent and returns a client of it. cgroup
// is OS.Cgroup; it may be empty. The agent ends with the test.
func Process(t testing.TB, cgroup string) *guest.Client {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	// The race detector would have the agent linger for a second.
	cmd.Env = append(os.Environ(), beAgent+"=1", beAgent+"_CGROUP="+cgroup, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return Connect(t, guest.Stdio(out, in))
}

// Serve returns a client of s, which serves in this process until the test ends.
func Serve(t testing.TB, s *guest.Server) *guest.Client {
	t.Helper()
	host, agent := Pipe(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(context.Background(), agent)
	}()
	t.Cleanup(func() {
		host.Close()
		<-served
	})
	return Connect(t, host)
}

// Pipe returns both ends of a socket, which buffers as a hypervisor's does.
func Pipe(t testing.TB) (host net.Conn, agent io.ReadWriteCloser) {
	t.Helper()
	dir, err := os.MkdirTemp("", "line")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if host, err = net.Dial("unix", dir+"/s"); err != nil {
		t.Fatal(err)
	}
	if agent, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		host.Close()
		agent.Close()
	})
	return host, agent
}

// Connect is guest.Connect with a generous deadline, closed when the test ends.
func Connect(t testing.TB, conn net.Conn) *guest.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
