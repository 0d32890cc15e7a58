//go:build unix

package cli

import (
	"context"
	"net"

	"assay/guest"
)

// pipePrefix begins the name of a pipe where pipes have names; "" where sockets
// have paths.
const pipePrefix = ""

// DialPipe opens the host's end of a guest's serial port: a socket, or on Windows
// a named pipe, on which the hypervisor listens.
func DialPipe(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return guest.Slow(conn), nil
}
