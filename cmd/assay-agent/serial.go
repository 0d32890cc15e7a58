//go:build linux

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// makeRaw makes a terminal carry every byte as it is, at the highest speed that
// every serial port knows: some hypervisors keep to it. A file that is no
// terminal is left alone.
func makeRaw(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		t, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err != nil {
			return
		}
		failed = unix.IoctlSetTermios(int(fd), unix.TCSETS, rawMode(t))
	})
	if err != nil {
		return err
	}
	return failed
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
