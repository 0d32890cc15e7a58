//go:build !windows

package hyperv

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// connect is for hosts that have Hyper-V.
func connect(context.Context, string, uint32) (net.Conn, error) {
	return nil, fmt.Errorf("a Hyper-V socket: this is not Windows: %w", errors.ErrUnsupported)
}
