package fake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"assay/guest"
)

// A fault is how a machine goes wrong: the word after "fake-" in its image's
// name, so that any script can meet it.
type fault string

// The faults.
const (
	bootSilent fault = "boot-silent" // the agent never answers
	bootPanic  fault = "boot-panic"  // the kernel gives up
	bootSlow   fault = "boot-slow"   // two seconds to boot
	lineDies   fault = "line-dies"   // the line breaks in the middle of an exec
	lineNoise  fault = "line-noise"  // the agent's end talks garbage
	restless   fault = "restless"    // it does something by itself before each look at it: see idle
)

var faults = []fault{bootSilent, bootPanic, bootSlow, lineDies, lineNoise, restless}

func faultOf(image string) fault {
	f := fault(strings.TrimPrefix(image, "fake-"))
	if slices.Contains(faults, f) {
		return f
	}
	return ""
}

// boot takes the time that a boot takes, and fails if this one does.
func (f fault) boot(ctx context.Context, delay time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch f {
	case bootPanic:
		return errors.New("the guest's kernel panicked")
	case bootSilent:
		if delay == 0 {
			delay = time.Second
		}
	case bootSlow:
		delay += 2 * time.Second
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if f == bootSilent {
		return fmt.Errorf("no answer from the agent in %v", delay)
	}
	return nil
}

// lastWords is what the console shows of a boot that failed.
func (f fault) lastWords() string {
	if f == bootPanic {
		return "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
	}
	return ""
}

// system is the guest as the agent acts on it.
func (f fault) system(g *system, line net.Conn) guest.System {
	if f == lineDies {
		return dying{g, line}
	}
	return g
}

// line is the agent's end of the line.
func (f fault) line(conn net.Conn) net.Conn {
	if f == lineNoise {
		return noisy{conn}
	}
	return conn
}

// dying is a guest whose line breaks at the first exec.
type dying struct {
	*system
	conn net.Conn
}

// Exec implements guest.System.
func (d dying) Exec(ctx context.Context, _ guest.Command, s guest.Streams) (guest.Exit, error) {
	_, _ = s.Stdout.Write([]byte("half a li"))
	d.conn.Close()
	<-ctx.Done()
	return guest.Exit{}, ctx.Err()
}

// noisy writes garbage instead of what it is told to.
type noisy struct{ net.Conn }

func (n noisy) Write(p []byte) (int, error) {
	garbage := make([]byte, len(p))
	for i := range garbage {
		garbage[i] = byte(0x80 + i%7)
	}
	return n.Conn.Write(garbage)
}
