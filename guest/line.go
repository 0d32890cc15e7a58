package guest

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

// errStopped is what a sender gets when its call is over.
var errStopped = errors.New("the call is over")

// A line is one end of the stream. One goroutine writes, so that a caller who
// gives up never leaves half a frame behind, and so that nobody who reads ever
// waits for somebody who writes.
type line struct {
	r    *bufio.Reader
	w    io.Writer
	out  chan outgoing
	done chan struct{} // closed when the line is dead

	once sync.Once
	err  error // why; set before done is closed
}

// outgoing is one frame or greeting on its way out.
type outgoing struct {
	buf   []byte
	stale <-chan struct{} // once closed, the frame is dropped instead; may be nil
}

func newLine(rw io.ReadWriter) *line {
	return &line{
		r:    bufio.NewReaderSize(rw, 4<<10), // small: what is larger is read to where it belongs
		w:    rw,
		out:  make(chan outgoing, 4),
		done: make(chan struct{}),
	}
}

// kill ends the line; the first reason stays.
func (l *line) kill(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
	})
}

// writeFrames sends what is posted until the line is dead.
func (l *line) writeFrames() {
	for {
		select {
		case <-l.done:
			return
		case o := <-l.out:
			if isClosed(l.done) || isClosed(o.stale) { // a dead line may have been chosen to send
				recycle(o.buf)
				continue
			}
			_, err := l.w.Write(o.buf)
			recycle(o.buf)
			if err != nil {
				l.kill(err)
				return
			}
		}
	}
}

// post hands o to the writer, and gives up when stop closes or the line dies.
func (l *line) post(o outgoing, stop <-chan struct{}) error {
	select {
	case l.out <- o:
		return nil
	case <-stop:
		return errStopped
	case <-l.done:
		return &LineError{l.err}
	}
}

// isClosed reports whether c is closed; nil is not.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
