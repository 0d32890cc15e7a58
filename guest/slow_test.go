package guest_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"assay/guest"
)

// A meter counts what is written to a line.
type meter struct {
	net.Conn
	mu sync.Mutex
	n  int
}

func (c *meter) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.n += len(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// TestSlowLinesSayLittle proves that a hello to an agent that takes its time does
// not fill a slow line, and does fill another.
func TestSlowLinesSayLittle(t *testing.T) {
	for name, slow := range map[string]bool{"slow": true, "quick": false} {
		near, far := net.Pipe()
		go func() { // reads, and answers late
			b := make([]byte, 1<<20)
			for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
				far.SetReadDeadline(end)
				far.Read(b)
			}
			far.SetReadDeadline(time.Time{})
			(&guest.Server{}).Serve(context.Background(), far)
		}()
		conn := &meter{Conn: near}
		line := net.Conn(conn)
		if slow {
			line = guest.Slow(conn)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := guest.Connect(ctx, line)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		conn.mu.Lock()
		if little := conn.n < 1000; little != slow {
			t.Errorf("%s: got %d bytes of hello", name, conn.n)
		}
		conn.mu.Unlock()
	}
}

func TestIsHello(t *testing.T) {
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	go guest.Connect(ctx, guest.Slow(near))
	hello := make([]byte, guest.HelloSize)
	if _, err := far.Read(hello); err != nil {
		t.Fatal(err)
	}
	cancel()
	for n := 1; n <= len(hello); n++ {
		if !guest.IsHello(hello[:n]) {
			t.Errorf("the first %d bytes of a hello are not known", n)
		}
	}
	hello[len(hello)-1] ^= 1
	for _, b := range [][]byte{hello, append(hello, 0), []byte("hello"), {hello[0], 0}} {
		if guest.IsHello(b) {
			t.Errorf("% x is taken for a hello", b)
		}
	}
}
