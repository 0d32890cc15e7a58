//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"assay/guest"

	"golang.org/x/sys/unix"
)

// terminal returns a terminal's path, and the other end of it, which is what a
// hypervisor's end of a serial port is. The terminal is as a login finds it: it
// echoes, edits lines, and translates their ends.
func terminal(t *testing.T) (path string, host *os.File) {
	t.Helper()
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	raw, err := host.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		var n int
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		path = fmt.Sprintf("/dev/pts/%d", n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return path, host
}

// echo is a server that sends back what it is sent.
func echo() *guest.Server {
	return &guest.Server{Handlers: map[string]guest.Handler{
		"echo": func(_ context.Context, _ json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			_, err := io.Copy(out, in)
			return nil, err
		},
	}}
}

// echoes moves every byte there is over a line and back, many times.
func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(i)
	}
	var got bytes.Buffer
	if err := c.Call(ctx, "echo", nil, bytes.NewReader(sent), &got, nil); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("got %d bytes, %v, want %d", got.Len(), err, len(sent))
	}
}

// TestSerial serves a terminal as it would a serial port, on which a kernel and a
// login have spoken before, and on which one host comes after another.
func TestSerial(t *testing.T) {
	path, host := terminal(t)
	host.WriteString("root\r\x03\x04\x13\x11stty\n")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- servePort(ctx, echo(), path) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the end: %v", err)
		}
	}()
	for range 2 {
		// The agent never learns that a host has gone, in the middle of a frame: the
		// next one says hello, in the quick way or in that for slow lines.
		for _, kind := range []func(net.Conn) net.Conn{func(c net.Conn) net.Conn { return c }, guest.Slow} {
			f := again(t, host)
			echoes(t, kind(guest.Stdio(f, f)))
			host.Write([]byte{0, 0, 1, 0, 1, 1, 0, 0, 0, 'h', 'a', 'l', 'f'})
			time.Sleep(silence)
		}
	}
}

// again opens a terminal's other end once more.
func again(t *testing.T, host *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(host.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "host")
}

// TestListener serves sockets: the next line cuts the one before, and who is not
// trusted gets none.
func TestListener(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/s"
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 4); err != nil {
		t.Fatal(err)
	}
	strangers := 1
	l := newListener(fd, func(unix.Sockaddr) bool {
		strangers--
		return strangers < 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- l.serve(ctx, echo()) }()
	stranger := dial(t, path)
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a stranger: got %d bytes, %v, want the end", n, err)
	}
	first := dial(t, path)
	echoes(t, keptConn{first})
	echoes(t, dial(t, path))
	first.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Errorf("the line before: got %v, want its end", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("the end: %v", err)
	}
}

// keptConn is a connection that stays when its client goes.
type keptConn struct{ net.Conn }

func (keptConn) Close() error { return nil }

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOnlyTheHostIsTrusted(t *testing.T) {
	for cid, want := range map[uint32]bool{unix.VMADDR_CID_HOST: true, unix.VMADDR_CID_LOCAL: false, 3: false, unix.VMADDR_CID_ANY: false} {
		if got := fromHost(&unix.SockaddrVM{CID: cid}); got != want {
			t.Errorf("context %d: got %v, want %v", cid, got, want)
		}
	}
	if fromHost(&unix.SockaddrUnix{}) {
		t.Error("a peer of another family is trusted")
	}
}

// A machine may have the port before the kernel has what carries it.
func TestVsockWaits(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	if err := serveVsock(ctx, echo(), 20001); err != nil {
		t.Error(err)
	}
	for _, word := range []string{"0", "-1", "x", "4294967296"} {
		if err := run([]string{"vsock", word}); err == nil {
			t.Errorf("vsock %s: got no error", word)
		}
	}
}
