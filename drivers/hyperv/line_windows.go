package hyperv

import (
	"context"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Numbers of Windows' hvsocket.h.
const (
	familyHyperV = 34
	protocolRaw  = 1
)

// address is SOCKADDR_HV.
type address struct {
	Family, Reserved uint16
	Machine, Service windows.GUID
}

var connectCall = windows.NewLazySystemDLL("ws2_32.dll").NewProc("connect")

// connect opens a Hyper-V socket.
func connect(ctx context.Context, id string, port uint32) (net.Conn, error) {
	to := address{Family: familyHyperV}
	var err error
	if to.Machine, err = windows.GUIDFromString("{" + id + "}"); err != nil {
		return nil, fmt.Errorf("machine %q: %w", id, err)
	}
	if to.Service, err = windows.GUIDFromString("{" + service(port) + "}"); err != nil {
		return nil, err
	}
	// Package net, which prepares the sockets of Windows, need not have been used.
	var data windows.WSAData
	if err := windows.WSAStartup(0x202, &data); err != nil {
		return nil, os.NewSyscallError("WSAStartup", err)
	}
	s, err := windows.Socket(familyHyperV, windows.SOCK_STREAM, protocolRaw)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// To close the socket is all that interrupts the call.
	stop := context.AfterFunc(ctx, func() { windows.Closesocket(s) })
	r, _, errno := connectCall.Call(uintptr(s), uintptr(unsafe.Pointer(&to)), unsafe.Sizeof(to))
	switch ended := !stop(); {
	case ended:
		return nil, context.Cause(ctx)
	case r != 0:
		windows.Closesocket(s)
		return nil, os.NewSyscallError("connect", errno)
	}
	return socket{os.NewFile(uintptr(s), "hvsocket:"+id)}, nil
}

// A socket is a file that is also a connection.
type socket struct{ *os.File }

func (s socket) LocalAddr() net.Addr  { return socketAddr(s.Name()) }
func (s socket) RemoteAddr() net.Addr { return socketAddr(s.Name()) }

type socketAddr string

func (socketAddr) Network() string  { return "hvsocket" }
func (a socketAddr) String() string { return string(a) }
