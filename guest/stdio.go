package guest

import (
	"errors"
	"io"
	"net"
	"time"
)

// Stdio makes a line's stream out of the two ends of a program that relays
// bytes, such as an exec command of a hypervisor or ssh, or of this process's
// own standard input and output. Where r and w know no deadlines, as os.File
// pipes do, a deadline in the past closes them.
func Stdio(r io.ReadCloser, w io.WriteCloser) net.Conn { return &stdio{r, w} }

type stdio struct {
	r io.ReadCloser
	w io.WriteCloser
}

func (s *stdio) Read(p []byte) (int, error)  { return s.r.Read(p) }
func (s *stdio) Write(p []byte) (int, error) { return s.w.Write(p) }
func (s *stdio) Close() error                { return errors.Join(s.w.Close(), s.r.Close()) }
func (s *stdio) LocalAddr() net.Addr         { return stdioAddr{} }
func (s *stdio) RemoteAddr() net.Addr        { return stdioAddr{} }

func (s *stdio) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *stdio) SetReadDeadline(t time.Time) error {
	if f, ok := s.r.(interface{ SetReadDeadline(time.Time) error }); ok && f.SetReadDeadline(t) == nil {
		return nil
	}
	return closePast(s.r, t)
}

func (s *stdio) SetWriteDeadline(t time.Time) error {
	if f, ok := s.w.(interface{ SetWriteDeadline(time.Time) error }); ok && f.SetWriteDeadline(t) == nil {
		return nil
	}
	return closePast(s.w, t)
}

// closePast is all that can be done for an end without deadlines.
func closePast(c io.Closer, t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		return c.Close()
	}
	return nil
}

type stdioAddr struct{}

func (stdioAddr) Network() string { return "stdio" }
func (stdioAddr) String() string  { return "stdio" }
