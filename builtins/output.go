package builtins

import (
	"fmt"
	"strings"
	"sync"

	"assay"
	"assay/engine"
)

// The bounds of what is kept of a stream that a command writes.
const (
	maxStdout = 4 << 20 // bytes that a script sees
	maxLive   = 1 << 20 // bytes that are shown while the command runs
)

// An output is one stream of a command: all that a script sees of it, what the
// record keeps, and the live view. It takes everything.
type output struct {
	session *engine.Session

	mu    sync.Mutex
	long  clip
	short clip
	shown int
}

func newOutput(s *engine.Session) *output {
	return &output{session: s, long: clip{limit: maxStdout}, short: clip{limit: assay.OutputLimit}}
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	o.long.add(b)
	o.short.add(b)
	show := b[:min(len(b), maxLive-o.shown)]
	o.shown += len(show)
	o.mu.Unlock()
	if len(show) > 0 {
		o.session.Output(string(show))
	}
	return len(b), nil
}

// A clip keeps the beginning and the end of what is added to it.
type clip struct {
	limit int // bytes kept
	total int64
	head  []byte
	tail  []byte
}

func (c *clip) add(b []byte) {
	c.total += int64(len(b))
	n := min(len(b), c.limit/2-len(c.head))
	c.head = append(c.head, b[:n]...)
	c.tail = append(c.tail, b[n:]...)
	if half := c.limit / 2; len(c.tail) > 2*half { // copy seldom
		c.tail = append([]byte(nil), c.tail[len(c.tail)-half:]...)
	}
}

// String returns what was kept, with a mark where the middle was cut out.
func (c *clip) String() string {
	tail := c.tail[max(0, len(c.tail)-c.limit/2):]
	cut := c.total - int64(len(c.head)+len(tail))
	if cut == 0 {
		return string(c.head) + string(tail)
	}
	return fmt.Sprintf("%s\n… %d bytes cut out …\n%s", c.head, cut, tail)
}

// text is String as valid UTF-8, for the record.
func (c *clip) text() string { return strings.ToValidUTF8(c.String(), "\uFFFD") }
