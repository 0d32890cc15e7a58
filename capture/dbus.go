package capture

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Bounds on what systemd, or what stands in its place, may answer.
const (
	maxReply    = 4 << 20 // bytes of one message
	maxSignals  = 1000    // that come before the answer
	busPatience = 10 * time.Second
)

// dialer is a Source whose sockets can be talked to.
type dialer interface {
	// dial connects to a socket. What is read and written fails once ctx has ended.
	dial(ctx context.Context, socket string) (io.ReadWriteCloser, error)
}

// buses are where systemd listens: by itself, to root only, and behind a broker.
var buses = []struct {
	socket string
	broker bool
}{
	{"/run/systemd/private", false},
	{"/run/dbus/system_bus_socket", true},
}

// askSystemd asks systemd over D-Bus for the units that it has loaded. To ask
// without systemctl saves the start of a program.
func askSystemd(ctx context.Context, d dialer) (map[string]state, error) {
	var errs []error
	for _, b := range buses {
		found, err := askBus(ctx, d, b.socket, b.broker)
		if err == nil {
			return found, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", b.socket, err))
	}
	return nil, errors.Join(errs...)
}

func askBus(ctx context.Context, d dialer, socket string, broker bool) (map[string]state, error) {
	ctx, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	conn, err := d.dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return listUnits(conn, broker)
}

// listUnits holds the whole talk: authentication, the broker's greeting, and one
// question.
func listUnits(conn io.ReadWriter, broker bool) (map[string]state, error) {
	b := &bus{in: bufio.NewReader(conn), out: conn}
	if err := b.authenticate(); err != nil {
		return nil, err
	}
	destination := ""
	if broker {
		if _, err := b.call(busMessage{path: "/org/freedesktop/DBus", destination: "org.freedesktop.DBus", iface: "org.freedesktop.DBus", member: "Hello"}); err != nil {
			return nil, err
		}
		destination = "org.freedesktop.systemd1"
	}
	body, err := b.call(busMessage{path: "/org/freedesktop/systemd1", destination: destination, iface: "org.freedesktop.systemd1.Manager",
		member: "ListUnitsByPatterns", signature: "asas", body: unitPatterns()})
	if err != nil {
		return nil, err
	}
	return parseUnits(body)
}

// unitPatterns is the question's body: no state is asked for, and the names are
// those of unitTypes.
func unitPatterns() []byte {
	w := busWriter{}
	w.array(4, func() {})
	w.array(4, func() {
		for _, t := range unitTypes {
			w.text("*" + t)
		}
	})
	return w
}

// parseUnits reads the answer, an array of (ssssssouso): name, description, load
// state, active state, sub state, followed unit, path, job, its type and path.
func parseUnits(body []byte) (map[string]state, error) {
	r := &busReader{data: body}
	found := map[string]state{}
	end := r.array(8)
	for r.err == nil && r.at < end {
		r.align(8)
		name, _, load, active, sub := r.text(), r.text(), r.text(), r.text(), r.text()
		r.text()
		r.text()
		r.number()
		r.text()
		r.text()
		if load != "not-found" && r.err == nil {
			found[name] = state{active, sub}
		}
	}
	return found, r.err
}

// bus is one connection on which one question at a time is asked.
type bus struct {
	in     *bufio.Reader
	out    io.Writer
	serial uint32
}

// authenticate says who asks: the kernel tells the other side that it is true.
// BEGIN goes with it, as systemd's own clients do: if it went with the first call,
// systemd would leave the call unread until more came.
func (b *bus) authenticate() error {
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if _, err := io.WriteString(b.out, "\x00AUTH EXTERNAL "+uid+"\r\nBEGIN\r\n"); err != nil {
		return err
	}
	answer, err := b.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(answer), "OK ") {
		return fmt.Errorf("authentication: got %q, want OK", cut(Escape(string(answer)), 80))
	}
	return nil
}

// The types of message, and the fields of a header.
const (
	busCall, busReturn, busError = 1, 2, 3

	fieldPath, fieldInterface, fieldMember, fieldReplySerial, fieldDestination, fieldSignature = 1, 2, 3, 5, 6, 8
)

// busMessage is a method call.
type busMessage struct {
	path, destination, iface, member, signature string

	body []byte
}

// encode writes the message in the form of the wire, little-endian.
func (m busMessage) encode(serial uint32) []byte {
	w := busWriter{'l', busCall, 0, 1}
	w.number(uint32(len(m.body)))
	w.number(serial)
	w.array(8, func() {
		w.field(fieldPath, "o", m.path)
		w.field(fieldInterface, "s", m.iface)
		w.field(fieldMember, "s", m.member)
		w.field(fieldDestination, "s", m.destination)
		w.field(fieldSignature, "g", m.signature)
	})
	w.align(8)
	return append(w, m.body...)
}

// call sends a message and returns the body of its answer. Signals in between are
// not for us.
func (b *bus) call(m busMessage) ([]byte, error) {
	b.serial++
	if _, err := b.out.Write(m.encode(b.serial)); err != nil {
		return nil, err
	}
	for range maxSignals {
		kind, reply, body, err := b.receive()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", m.member, err)
		case reply != b.serial:
		case kind == busReturn:
			return body, nil
		case kind == busError:
			r := &busReader{data: body}
			return nil, fmt.Errorf("%s: %s", m.member, cut(Escape(r.text()), 200))
		}
	}
	return nil, fmt.Errorf("%s: no answer among %d messages", m.member, maxSignals)
}

// receive reads one message: its type, to which call it is the answer, its body.
func (b *bus) receive() (kind byte, reply uint32, body []byte, err error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(b.in, head); err != nil {
		return 0, 0, nil, err
	}
	if head[0] != 'l' || head[3] != 1 {
		return 0, 0, nil, fmt.Errorf("message: got byte order %q, version %d, want 'l', 1", head[0], head[3])
	}
	size, fields := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[12:])
	if size > maxReply || fields > maxReply {
		return 0, 0, nil, fmt.Errorf("message: got %d bytes with a header of %d, want at most %d", size, fields, maxReply)
	}
	rest := make([]byte, (int(fields)+7)&^7+int(size))
	if _, err := io.ReadFull(b.in, rest); err != nil {
		return 0, 0, nil, err
	}
	reply, err = replySerial(rest[:fields])
	return head[1], reply, rest[len(rest)-int(size):], err
}

// replySerial finds the call that a message answers in its header's fields, an
// array of (yv); 0: none.
func replySerial(fields []byte) (serial uint32, err error) {
	r := &busReader{data: fields}
	for r.err == nil && r.at < len(fields) {
		r.align(8)
		field := r.byte()
		switch signature := r.signature(); signature {
		case "u":
			if n := r.number(); field == fieldReplySerial {
				serial = n
			}
		case "s", "o":
			r.text()
		case "g":
			r.signature()
		default:
			return 0, fmt.Errorf("message: header field %d of type %q", field, cut(Escape(signature), 20))
		}
	}
	return serial, r.err
}
