package guest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
)

// A Client is the host's end of the line. Its methods are safe for concurrent use.
type Client struct{ done chan struct{} }

func Connect(ctx context.Context, conn net.Conn) (*Client, error) {
	return nil, errors.ErrUnsupported
}
func (c *Client) Close() error          { return nil }
func (c *Client) Done() <-chan struct{} { return c.done }
func (c *Client) Err() error            { return nil }
func (c *Client) Info(ctx context.Context) (Info, error) {
	return Info{}, errors.ErrUnsupported
}
func (c *Client) Exec(ctx context.Context, cmd Command, stdin io.Reader, stdout, stderr io.Writer) (Exit, error) {
	return Exit{}, errors.ErrUnsupported
}

// Terminal is Exec on a terminal (cmd.TTY); sizes carries its new sizes and may be nil.
func (c *Client) Terminal(ctx context.Context, cmd Command, stdin io.Reader, stdout io.Writer, sizes <-chan Size) (Exit, error) {
	return Exit{}, errors.ErrUnsupported
}
func (c *Client) Push(ctx context.Context, hostPath, guestPath string, opt PushOptions) (TransferStats, error) {
	return TransferStats{}, errors.ErrUnsupported
}
func (c *Client) Pull(ctx context.Context, guestPath, hostPath string, opt PullOptions) (TransferStats, error) {
	return TransferStats{}, errors.ErrUnsupported
}
func (c *Client) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
func (c *Client) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode, user string) error {
	return errors.ErrUnsupported
}
func (c *Client) Wait(ctx context.Context, cond Condition) error { return errors.ErrUnsupported }
func (c *Client) Renew(ctx context.Context, id Identity) error   { return errors.ErrUnsupported }
func (c *Client) Call(ctx context.Context, method string, args any, in io.Reader, out io.Writer, result any) error {
	return errors.ErrUnsupported
}
