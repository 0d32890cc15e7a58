package fake

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"assay/capture"
	"assay/guest"
)

// look answers those who want to see what the guest is.
func (f fault) look(g *system) guest.Handler {
	see := capture.HandlerOf(source{g})
	if f != restless {
		return see
	}
	return func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
		if err := g.idle(); err != nil {
			return nil, err
		}
		return see(ctx, args, in, out)
	}
}

// idle does what real guests do by themselves, in the three ways that there are:
// it logs a line, rewrites a file as ever, and makes one under a new name.
func (g *system) idle() error {
	log, err := g.disk.open("/var/log/idle.log", 0o644, false, 0)
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	rand.Read(id)
	line := fmt.Sprintf("%s %s idle[%d]: did nothing, %d times\n", time.Now().Format(time.Stamp), g.hostname(), id[0], id[1])
	return errors.Join(g.disk.append(log, []byte(line)),
		g.disk.write("/etc/resolv.conf", []byte("# by idle\nnameserver 10.0.2.3\n"), 0o644, 0),
		g.disk.write(fmt.Sprintf("/tmp/idle-%x", id), nil, 0o600, 0))
}
