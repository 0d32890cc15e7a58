package cli

import (
	"context"
	"net"
	"os"

	"assay/guest"

	"golang.org/x/sys/windows"
)

// pipePrefix begins the name of a pipe.
const pipePrefix = `\\.\pipe\`

// DialPipe opens the host's end of a guest's serial port: a socket, or on Windows
// a named pipe, on which the hypervisor listens.
func DialPipe(_ context.Context, path string) (net.Conn, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	// Only an overlapped handle reads and writes at the same time.
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil,
		windows.OPEN_EXISTING, windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return guest.Slow(pipe{os.NewFile(uintptr(h), path)}), nil
}

// A pipe is a file that is also a connection.
type pipe struct{ *os.File }

func (p pipe) LocalAddr() net.Addr  { return pipeAddr(p.Name()) }
func (p pipe) RemoteAddr() net.Addr { return pipeAddr(p.Name()) }

type pipeAddr string

func (pipeAddr) Network() string  { return "pipe" }
func (a pipeAddr) String() string { return string(a) }
