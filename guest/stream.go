package guest

import (
	"encoding/binary"
	"io"
	"sync"
)

// Each direction of a call has a window: so much may be under way before the
// receiver has taken it. A call whose reader is slow fills its own window and
// holds up nobody else.
const (
	window = 512 << 10
	// frameCost is added to each frame's size, so that tiny frames cannot make the
	// receiver hold a multiple of the window.
	frameCost = 64
)

// credit is how much a sender may still send.
type credit struct {
	mu   sync.Mutex
	left int
	more chan struct{} // a token when left may suffice again
}

func newCredit() *credit { return &credit{left: window, more: make(chan struct{}, 1)} }

// take waits until n is left, and takes it. It reports false when stop or done
// closes first.
func (c *credit) take(n int, stop, done <-chan struct{}) bool {
	for !c.try(n) {
		select {
		case <-c.more:
		case <-stop:
			return false
		case <-done:
			return false
		}
	}
	return true
}

func (c *credit) try(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < n {
		return false
	}
	c.left -= n
	if c.left > 0 {
		c.signal() // another sender of the same call may wait for less
	}
	return true
}

// grant adds what the receiver has taken.
func (c *credit) grant(payload []byte) {
	if len(payload) != 4 {
		return
	}
	n := binary.LittleEndian.Uint32(payload)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = min(window, c.left+int(min(n, window)))
	c.signal()
}

func (c *credit) signal() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// A lane is what both directions of one call share.
type lane struct {
	line  *line
	call  uint32
	stop  <-chan struct{} // closes when the call is over
	stale <-chan struct{} // closes when its frames must not be sent any more; nil: never
}

// post sends a frame of the call.
func (l lane) post(b []byte) error {
	return l.line.post(outgoing{b, l.stale}, l.stop)
}

// An outlet sends one direction of one call.
type outlet struct {
	lane
	credit *credit
}

// send posts b, which has room for a header, as one frame.
func (o *outlet) send(b []byte, kind byte) error {
	if !o.credit.take(len(b)-headerSize+frameCost, o.stop, o.line.done) {
		recycle(b)
		return errStopped
	}
	return o.post(seal(b, kind, o.call))
}

// A streamWriter writes one kind of data.
type streamWriter struct {
	*outlet
	kind byte
}

// Write sends p in frames.
func (w streamWriter) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		part := p[n:min(n+chunkSize, len(p))]
		b := newBuffer(len(part))
		copy(b[headerSize:], part)
		if err = w.send(b, w.kind); err == nil {
			n += len(part)
		}
	}
	return n, err
}

// ReadFrom sends what r has, a frame for each read, without copying it.
func (w streamWriter) ReadFrom(r io.Reader) (total int64, err error) {
	for {
		b := newBuffer(chunkSize)
		n, rerr := r.Read(b[headerSize:])
		if n > 0 {
			if err := w.send(w.fit(b, n), w.kind); err != nil {
				return total, err
			}
			total += int64(n)
		} else {
			recycle(b)
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
}

// fit cuts b to n bytes; few bytes move to a buffer of their own size.
func (streamWriter) fit(b []byte, n int) []byte {
	if n >= chunkSize/8 {
		return b[:headerSize+n]
	}
	small := append([]byte(nil), b[:headerSize+n]...)
	recycle(b)
	return small
}

// A chunk is one received frame; its payload lies behind room for a header.
type chunk struct {
	kind byte
	buf  []byte
}

func (c chunk) payload() []byte { return c.buf[headerSize:] }
func (c chunk) cost() int       { return len(c.buf) - headerSize + frameCost }

// An inbox holds what was received for one call and not yet taken.
type inbox struct {
	lane

	mu     sync.Mutex
	queue  []chunk
	room   int // what the sender may still send
	closed bool
	ready  chan struct{}

	owed int    // taken and not yet granted; the taker's own
	head chunk  // what Read has begun; the taker's own
	rest []byte // of head
}

func newInbox(l lane) *inbox {
	return &inbox{lane: l, room: window, ready: make(chan struct{}, 1)}
}

// put adds a chunk. It reports false when the sender had no credit for it.
func (q *inbox) put(c chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		recycle(c.buf)
		return true
	}
	if c.kind != frameResult {
		if q.room -= c.cost(); q.room < 0 {
			return false
		}
	}
	q.queue = append(q.queue, c)
	q.wake()
	return true
}

// end says that nothing more will come.
func (q *inbox) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

func (q *inbox) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pop returns the next chunk if there is one, and whether there never will be.
func (q *inbox) pop() (c chunk, ok, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.queue = nil
		return chunk{}, false, q.closed
	}
	c = q.queue[0]
	q.queue[0] = chunk{}
	q.queue = q.queue[1:]
	return c, true, false
}

// next waits for a chunk: io.EOF after the last, errStopped when stop closes.
// Only one goroutine takes chunks. Each must be given back with release.
func (q *inbox) next(stop <-chan struct{}) (chunk, error) {
	for {
		c, ok, over := q.pop()
		switch {
		case ok:
			return c, nil
		case over:
			return chunk{}, io.EOF
		}
		select {
		case <-q.ready:
		case <-stop:
			return chunk{}, errStopped
		case <-q.line.done:
			return chunk{}, &LineError{q.line.err}
		}
	}
}

// release frees a chunk and, now and then, tells the sender.
func (q *inbox) release(c chunk) {
	if c.kind == frameResult {
		return
	}
	q.owed += c.cost()
	recycle(c.buf)
	if q.owed < window/4 {
		return
	}
	n := uint32(q.owed)
	q.owed = 0
	q.mu.Lock()
	q.room += int(n)
	q.mu.Unlock()
	q.post(frame(frameCredit, q.call, binary.LittleEndian.AppendUint32(nil, n)))
}

// Read implements io.Reader over the payloads.
func (q *inbox) Read(p []byte) (int, error) {
	if err := q.fill(); err != nil {
		return 0, err
	}
	n := copy(p, q.rest)
	q.rest = q.rest[n:]
	return n, nil
}

// fill sees to it that something can be read.
func (q *inbox) fill() error {
	for len(q.rest) == 0 {
		if q.head.buf != nil {
			q.release(q.head)
			q.head = chunk{}
		}
		c, err := q.next(q.stop)
		if err != nil {
			return err
		}
		q.head, q.rest = c, c.payload()
	}
	return nil
}

// writeTo hands the next n bytes to w without copying them.
func (q *inbox) writeTo(w io.Writer, n int64) (total int64, err error) {
	for total < n && err == nil {
		if err = q.fill(); err == nil {
			var m int
			m, err = w.Write(q.rest[:min(int64(len(q.rest)), n-total)])
			q.rest = q.rest[m:]
			total += int64(m)
		}
	}
	return total, err
}
