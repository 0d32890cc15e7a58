//go:build linux

package main

import (
	"errors"
	"io"
	"os"
	"time"

	"assay/guest"

	"golang.org/x/sys/unix"
)

// makeRaw makes a terminal carry every byte as it is, at the highest speed that
// every serial port knows: some hypervisors keep to it. It reports whether the
// file is a terminal; another is left alone.
func makeRaw(f *os.File) (terminal bool, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if terminal = err == nil; terminal {
			failed = unix.IoctlSetTermios(int(fd), unix.TCSETS, rawMode(t))
		}
	})
	return terminal, errors.Join(err, failed)
}

// rawMode is cfmakeraw, without flow control of either kind, deaf to the lines
// that a modem would have.
func rawMode(t *unix.Termios) *unix.Termios {
	r := *t
	r.Iflag = 0
	r.Oflag = 0
	r.Lflag = 0
	r.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	r.Ispeed, r.Ospeed = unix.B115200, unix.B115200
	r.Cc[unix.VMIN], r.Cc[unix.VTIME] = 1, 0
	return &r
}

// A serialLine is a line over a serial port, on which nothing tells that a host
// went, maybe in the middle of a frame, and that another came. What comes after a
// silence and is a hello begins a new line.
type serialLine struct {
	portLine
	begun bool      // something was read on this line
	last  time.Time // when
}

// silence is how long a port must be quiet before a hello counts wherever it
// comes. A host does not pause for that long within a frame, unless it is very
// busy; and then only somebody who knows when, and can place all its bytes behind
// the pause, could make a line end.
const silence = 300 * time.Millisecond

// Read ends the line, with io.EOF, in front of a hello after a silence.
func (l *serialLine) Read(b []byte) (int, error) {
	if len(l.ahead) == 0 {
		n, err := l.portLine.Read(b)
		quiet := time.Since(l.last) >= silence
		l.last = time.Now()
		if n == 0 || !l.begun || !quiet || !guest.IsHello(b[:min(n, guest.HelloSize)]) {
			l.begun = l.begun || n > 0
			return n, err
		}
		l.ahead = l.complete(append([]byte(nil), b[:n]...))
		if len(l.ahead) >= guest.HelloSize && guest.IsHello(l.ahead[:guest.HelloSize]) {
			return 0, io.EOF // the next line begins with it
		}
	}
	n := copy(b, l.ahead)
	l.ahead = l.ahead[n:]
	l.begun, l.last = true, time.Now()
	return n, nil
}

// complete waits for the rest of what begins like a hello: a port gives a few
// bytes at a time.
func (l *serialLine) complete(b []byte) []byte {
	more := make([]byte, guest.HelloSize)
	for end := time.Now().Add(silence); len(b) < guest.HelloSize && guest.IsHello(b) && time.Now().Before(end); {
		n := 0
		l.raw.Control(func(fd uintptr) { n, _ = readAvailable(int(fd), more[:guest.HelloSize-len(b)]) })
		if b = append(b, more[:n]...); n == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return b
}
