package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"assay/guest"
)

// Explained is conn, with errors that say what became of the machine: when a read
// or a write fails, other than by a deadline or by the line's own closing, why is
// asked, and what it returns, if it is not nil, goes before the error.
func Explained(conn net.Conn, why func(context.Context) error) net.Conn {
	e := &explained{Conn: conn, why: why}
	if guest.IsSlow(conn) {
		return guest.Slow(e)
	}
	return e
}

// whyLimit bounds the question.
const whyLimit = 10 * time.Second

type explained struct {
	net.Conn
	why  func(context.Context) error
	over atomic.Bool // closed from here
}

// Close ends the line, which then needs no explanation.
func (c *explained) Close() error {
	c.over.Store(true)
	return c.Conn.Close()
}

func (c *explained) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

func (c *explained) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

func (c *explained) explain(err error) error {
	for _, own := range []error{nil, os.ErrDeadlineExceeded, net.ErrClosed, io.ErrClosedPipe} {
		if errors.Is(err, own) {
			return err
		}
	}
	if c.over.Load() {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), whyLimit)
	defer cancel()
	if why := c.why(ctx); why != nil {
		return fmt.Errorf("%w (%w)", why, err)
	}
	return err
}
