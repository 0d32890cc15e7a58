//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"assay/guest"

	"golang.org/x/sys/unix"
)

// socketPort returns a port, and the host's end of it. A socket shows a host that
// has gone as a virtio port does.
func socketPort(t *testing.T) (*port, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPort(os.NewFile(uintptr(fds[0]), "port"))
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "host")
	defer f.Close()
	host, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		host.Close()
		p.close()
	})
	return p, host
}

// TestPort moves bulk through a port and then lets the host go.
func TestPort(t *testing.T) {
	p, host := socketPort(t)
	if p.deserted() {
		t.Fatal("the host is taken for gone")
	}
	s := &guest.Server{Handlers: map[string]guest.Handler{
		"echo": func(_ context.Context, _ json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			_, err := io.Copy(out, in)
			return nil, err
		},
	}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), p.line()) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := guest.Connect(ctx, host)
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 5<<20)
	rand.Read(sent)
	var got bytes.Buffer
	if err := c.Call(ctx, "echo", nil, bytes.NewReader(sent), &got, nil); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("got %d bytes, %v, want %d", got.Len(), err, len(sent))
	}
	c.Close()
	if err := <-served; err != nil {
		t.Errorf("the end of the host: got %v, want none", err)
	}
	for !p.deserted() {
		time.Sleep(time.Millisecond)
	}
	waiting, stop := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, stop)
	p.waitForHost(waiting)
	if waiting.Err() == nil {
		t.Error("nobody is taken for a host")
	}
}

// TestStopInterruptsAPort ends a Serve that waits for the host to speak.
func TestStopInterruptsAPort(t *testing.T) {
	p, _ := socketPort(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- (&guest.Server{}).Serve(ctx, p.line()) }()
	time.AfterFunc(20*time.Millisecond, cancel)
	select {
	case err := <-served:
		if err != context.Canceled {
			t.Errorf("got %v, want context.Canceled", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Serve does not end")
	}
}

func TestArguments(t *testing.T) {
	if err := run([]string{"nonsense"}); err == nil {
		t.Error("got no error for an unknown word")
	}
	if err := run([]string{"version"}); err != nil {
		t.Error(err)
	}
}
