package hyperv

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"assay/drivers/internal/cli"
)

// guestPort is where the agent listens, of the guest's AF_VSOCK.
const guestPort = 20100

// service is what Windows calls a port of a Linux guest.
func service(port uint32) string { return fmt.Sprintf("%08x-facb-11e6-bd58-64006a7986d3", port) }

// register asks for the right to reach the agent by a Hyper-V socket, which an
// administrator gives once for all. Without it the line is a serial port.
func (d *driver) register(ctx context.Context) (bool, error) {
	var got struct{ Socket bool }
	err := d.ask(ctx, "register", map[string]string{"service": service(guestPort)}, &got)
	return got.Socket, err
}

// A hypervisorLine is a line that Hyper-V itself gives.
type hypervisorLine struct {
	m *machine
	cli.Line
}

// Dial implements line. A serial port has one listener, which takes one caller
// at a time: the earlier must go first.
func (l *hypervisorLine) Dial(ctx context.Context) (net.Conn, error) {
	l.Cut()
	var conn net.Conn
	var err error
	if l.m.socket {
		conn, err = l.m.d.connect(ctx, l.m.id, guestPort)
	} else {
		conn, err = cli.DialPipe(ctx, l.m.pipe)
	}
	if err != nil {
		return nil, err
	}
	return l.Take(cli.Explained(conn, l.m.alive))
}

// consoleEnd is what the name of the console's pipe ends with.
const consoleEnd = "-tty"

// maxConsole is how much of its console a machine returns.
const maxConsole = 1 << 20

// A console keeps what a guest prints on its first serial port. Its methods are
// safe for concurrent use.
type console struct {
	mu   sync.Mutex
	text []byte
	stop context.CancelFunc
	over chan struct{}
}

// follow reads the console's pipe until close, whenever it is there.
func (c *console) follow(pipe string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.stop, c.over = cancel, make(chan struct{})
	go func() {
		defer close(c.over)
		for ctx.Err() == nil {
			if conn, err := cli.DialPipe(ctx, pipe); err == nil {
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				_, _ = io.Copy(c, conn) // it ends when the machine is restored, for one
				stop()
				conn.Close()
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// firstWords is how long what a guest printed while it booted may be on its way.
const firstWords = 2 * time.Second

// wait returns when something was printed, or never will be.
func (c *console) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstWords)
	defer cancel()
	for ctx.Err() == nil && !c.said() {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *console) said() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.text) > 0
}

// Write keeps the last MiB of what it is given.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if over := len(c.text) - maxConsole; over > 0 {
		c.text = append(c.text[:0], c.text[over:]...)
	}
	return len(p), nil
}

// close ends the reading.
func (c *console) close() {
	c.mu.Lock()
	stop, over := c.stop, c.over
	c.mu.Unlock()
	if stop != nil {
		stop()
		<-over
	}
}

// Console returns the last MiB of what the guest printed, over all restores.
func (m *machine) Console() ([]byte, error) {
	m.console.mu.Lock()
	defer m.console.mu.Unlock()
	return append([]byte(nil), m.console.text...), nil
}
