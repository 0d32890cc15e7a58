//go:build linux

package qemu

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxMessage     = 16 << 20         // bytes of one line from the monitor
	commandTimeout = 60 * time.Second // of one command, unless its context ends sooner
)

// errMonitorClosed is what pending commands get when the monitor goes away.
var errMonitorClosed = errors.New("qmp: the monitor closed")

// A monitor is QEMU's control connection: commands with ids, events fanned out.
// Its methods are safe for concurrent use.
type monitor struct {
	conn net.Conn
	in   *bufio.Reader
	done chan struct{} // closed when the reader ends

	write sync.Mutex // one message at a time

	mu      sync.Mutex
	next    int
	pending map[int]chan message
	listen  []func(event)
	err     error // why the reader ended
}

// A message is anything that the monitor says after its greeting.
type message struct {
	ID     *int            `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *qmpError       `json:"error"`
	Event  string          `json:"event"`
	Data   json.RawMessage `json:"data"`
}

// An event is something that QEMU said unasked.
type event struct {
	name string
	data json.RawMessage
}

// qmpError is a command that QEMU refused.
type qmpError struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *qmpError) Error() string {
	return fmt.Sprintf("qmp: %s: %s (%s)", e.Command, e.Desc, e.Class)
}

// openMonitor greets the monitor on conn and takes ownership of it. Events are
// given to listen, in order, from one goroutine; it must not block.
func openMonitor(ctx context.Context, conn net.Conn, listen ...func(event)) (*monitor, error) {
	q := &monitor{
		conn:    conn,
		in:      bufio.NewReaderSize(conn, 64<<10),
		done:    make(chan struct{}),
		pending: map[int]chan message{},
		listen:  listen,
	}
	if err := q.greet(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	go q.read()
	if err := q.call(ctx, "qmp_capabilities", nil, nil); err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

// greet reads the greeting, and gives up when ctx ends.
func (q *monitor) greet(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { q.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := readLine(q.in)
	if ctx.Err() != nil {
		return fmt.Errorf("qmp: greeting: %w", context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("qmp: greeting: %w", err)
	}
	var hello struct {
		QMP *struct{} `json:"QMP"`
	}
	if err := json.Unmarshal(line, &hello); err != nil || hello.QMP == nil {
		return fmt.Errorf("qmp: greeting: got %.80q, want QMP's", line)
	}
	return nil
}

// close ends the connection; pending commands fail.
func (q *monitor) close() {
	q.conn.Close()
	<-q.done
}

// call runs one command. args and result may be nil.
func (q *monitor) call(ctx context.Context, command string, args, result any) error {
	return q.callFile(ctx, command, args, nil, result)
}

// callFile is call with an open file for QEMU to keep, as getfd wants it.
func (q *monitor) callFile(ctx context.Context, command string, args any, file *os.File, result any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout,
		fmt.Errorf("no answer in %v: %w", commandTimeout, context.DeadlineExceeded))
	defer cancel()
	id, answer := q.expect()
	defer q.forget(id)
	if err := q.send(ctx, id, command, args, file); err != nil {
		return fmt.Errorf("qmp: %s: %w", command, err)
	}
	select {
	case m := <-answer:
		return m.decode(command, result)
	case <-q.done:
		return q.last(command, answer, result)
	case <-ctx.Done():
		return fmt.Errorf("qmp: %s: %w", command, context.Cause(ctx))
	}
}

// last takes an answer that came just before the monitor closed.
func (q *monitor) last(command string, answer <-chan message, result any) error {
	select {
	case m := <-answer:
		return m.decode(command, result)
	default:
		return fmt.Errorf("qmp: %s: %w", command, q.failure())
	}
}

// decode stores the answer of command in result, or returns its error.
func (m message) decode(command string, result any) error {
	if m.Error != nil {
		m.Error.Command = command
		return m.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("qmp: %s: answer: %w", command, err)
	}
	return nil
}

// expect makes room for the answer to a new command.
func (q *monitor) expect() (int, <-chan message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next++
	answer := make(chan message, 1)
	q.pending[q.next] = answer
	return q.next, answer
}

// forget drops the wait for an answer, which may still come.
func (q *monitor) forget(id int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
}

// send writes one command, with the file beside it if there is one.
func (q *monitor) send(ctx context.Context, id int, command string, args any, file *os.File) error {
	msg := map[string]any{"execute": command, "id": id}
	if args != nil {
		msg["arguments"] = args
	}
	line, err := json.Marshal(msg)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	q.write.Lock()
	defer q.write.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		q.conn.SetWriteDeadline(deadline)
	}
	if file == nil {
		_, err = q.conn.Write(line)
		return err
	}
	return writeWithFile(q.conn, line, file)
}

// writeWithFile sends line and a descriptor of file in one message.
func writeWithFile(conn net.Conn, line []byte, file *os.File) error {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("send a file: got a %T, want a unix socket", conn)
	}
	n, _, err := u.WriteMsgUnix(line, unix.UnixRights(int(file.Fd())), nil)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	return err
}

// read hands every message to whom it belongs, until the connection ends.
func (q *monitor) read() {
	defer close(q.done)
	for {
		line, err := readLine(q.in)
		var m message
		if err == nil {
			if err = json.Unmarshal(line, &m); err != nil {
				err = fmt.Errorf("qmp: got %.80q, want a message: %w", line, err)
			}
		}
		if err != nil {
			q.end(err)
			return
		}
		q.deliver(m)
	}
}

// deliver gives an event to the listeners and an answer to its caller. An
// answer that nobody waits for any more is dropped.
func (q *monitor) deliver(m message) {
	if m.Event != "" {
		for _, f := range q.listen {
			f(event{m.Event, m.Data})
		}
		return
	}
	if m.ID == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if answer, ok := q.pending[*m.ID]; ok {
		delete(q.pending, *m.ID)
		answer <- m
	}
}

// end notes why the reader ended and closes the connection.
func (q *monitor) end(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
		err = errMonitorClosed
	}
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	q.conn.Close()
}

// failure returns why the reader ended.
func (q *monitor) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// readLine reads one bounded line without its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxMessage {
			return nil, fmt.Errorf("qmp: got a line of over %d bytes, want less", maxMessage)
		}
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
