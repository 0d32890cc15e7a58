package utm

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"assay/drivers/internal/cli"
)

// maxConsole is how much of its console a machine keeps.
const maxConsole = 1 << 20

// A console keeps what a guest prints on its serial port, which QEMU serves on a
// TCP port.
type console struct {
	port string

	mu   sync.Mutex
	tail *cli.Tail
	end  context.CancelFunc
	done chan struct{}

	heard chan struct{} // closed at the first word
	first sync.Once
}

// Write keeps what was read.
func (c *console) Write(p []byte) (int, error) {
	n, err := c.tail.Write(p)
	c.first.Do(func() { close(c.heard) })
	return n, err
}

// follow begins to read. A machine that is restored breaks the connection, and
// may be there again: so it goes on until close.
func (c *console) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tail != nil {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	c.tail, c.end, c.done = cli.NewTail(maxConsole), end, make(chan struct{})
	c.heard = make(chan struct{})
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			c.read(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(rereadPause):
			}
		}
	}()
}

// rereadPause is between two connections.
const rereadPause = 200 * time.Millisecond

// read reads one connection to its end. That there is none is no error: whoever
// waits for the machine will say what became of it.
func (c *console) read(ctx context.Context) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(loopback, c.port))
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, _ = io.Copy(c, conn)
}

// close ends the reading.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil {
		c.end()
		<-c.done
	}
}

// Console implements vm.Consoler.
func (m *machine) Console() ([]byte, error) {
	m.console.mu.Lock()
	defer m.console.mu.Unlock()
	if m.console.tail == nil {
		return nil, nil
	}
	select {
	case <-m.console.heard:
	case <-time.After(firstWord):
	}
	return m.console.tail.Bytes(), nil
}

// firstWord is how long a guest that has said nothing yet is listened to: what it
// printed may be on its way.
const firstWord = time.Second
