package capture

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// systemdStub answers like systemd: with a signal and a stranger's answer first.
type systemdStub struct {
	t      *testing.T
	broker bool
	units  [][5]string // name, description, load, active, sub
}

// reply writes a message that answers a call.
func (s systemdStub) reply(kind byte, serial uint32, signature string, body []byte) []byte {
	w := busWriter{'l', kind, 0, 1}
	w.number(uint32(len(body)))
	w.number(99)
	w.array(8, func() {
		w.align(8)
		w = append(w, fieldReplySerial)
		w.signature("u")
		w.number(serial)
		w.field(fieldSignature, "g", signature)
		w.field(7, "s", ":1.5") // the sender
	})
	w.align(8)
	return append(w, body...)
}

func (s systemdStub) list() []byte {
	w := busWriter{}
	w.array(8, func() {
		for _, u := range s.units {
			w.align(8)
			for _, v := range u {
				w.text(v)
			}
			w.text("")
			w.text("/org/freedesktop/systemd1/unit/x")
			w.number(0)
			w.text("")
			w.text("/")
		}
	})
	return w
}

func (s systemdStub) serve(conn net.Conn) {
	defer conn.Close()
	hello := make([]byte, len("\x00AUTH EXTERNAL ")+2*len(decimal(os.Getuid()))+len("\r\nBEGIN\r\n"))
	io.ReadFull(conn, hello)
	if want := "\x00AUTH EXTERNAL " + hex.EncodeToString([]byte(decimal(os.Getuid()))) + "\r\nBEGIN\r\n"; string(hello) != want {
		s.t.Errorf("got %q, want %q", hello, want)
	}
	io.WriteString(conn, "OK 1234\r\n")
	serial := uint32(1)
	if s.broker {
		s.expect(conn, "Hello")
		name := busWriter{}
		name.text(":1.7")
		conn.Write(s.reply(busReturn, serial, "s", name))
		serial++
	}
	s.expect(conn, "ListUnitsByPatterns")
	conn.Write(s.reply(4, 0, "", nil))
	conn.Write(s.reply(busReturn, 77, "", nil))
	conn.Write(s.reply(busReturn, serial, "a(ssssssouso)", s.list()))
}

// expect reads a call of a method.
func (s systemdStub) expect(conn net.Conn, member string) {
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil || !bytes.Contains(buf[:n], []byte(member)) {
		s.t.Errorf("got %q, %v, want a call of %s", buf[:n], err, member)
	}
}

// dialerOf is a guest whose sockets are functions.
type dialerOf map[string]func(net.Conn)

func (d dialerOf) dial(_ context.Context, socket string) (io.ReadWriteCloser, error) {
	serve, ok := d[socket]
	if !ok {
		return nil, errors.New("nobody listens")
	}
	ours, theirs := net.Pipe()
	go serve(theirs)
	return ours, nil
}

func TestAskSystemd(t *testing.T) {
	stub := systemdStub{t: t, units: [][5]string{
		{"a.service", "A", "loaded", "active", "running"},
		{"gone.service", "gone", "not-found", "inactive", "dead"},
		{"b.timer", "B ü", "loaded", "active", "waiting"},
	}}
	want := map[string]state{"a.service": {"active", "running"}, "b.timer": {"active", "waiting"}}
	got, err := askSystemd(t.Context(), dialerOf{buses[0].socket: stub.serve})
	check(t, err)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(state{})); d != "" {
		t.Errorf("by itself (-want +got):\n%s", d)
	}
	stub.broker = true
	got, err = askSystemd(t.Context(), dialerOf{buses[1].socket: stub.serve})
	check(t, err)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(state{})); d != "" {
		t.Errorf("behind a broker (-want +got):\n%s", d)
	}
	if _, err = askSystemd(t.Context(), dialerOf{}); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("got %v", err)
	}
}

// What refuses, lies, says too much or goes away is an error, and nothing waits.
func TestSystemdThatIsNone(t *testing.T) {
	after := func(auth string, message []byte) func(net.Conn) {
		return func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			io.WriteString(conn, auth)
			conn.Write(message)
			conn.Close()
		}
	}
	stub := systemdStub{t: t}
	why := busWriter{}
	why.text("not for you")
	huge := stub.reply(busReturn, 1, "a(ssssssouso)", nil)
	copy(huge[4:], "\xff\xff\xff\xff")
	long := busWriter{}
	long.number(1 << 30)
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"refused":   {after("REJECTED EXTERNAL\r\n", nil), `got "REJECTED EXTERNAL`},
		"gone":      {after("OK 1\r\n", nil), "EOF"},
		"denied":    {after("OK 1\r\n", stub.reply(busError, 1, "s", why)), "ListUnitsByPatterns: not for you"},
		"huge":      {after("OK 1\r\n", huge), "want at most"},
		"big":       {after("OK 1\r\n", append([]byte("B"), huge[1:]...)), "byte order"},
		"long":      {after("OK 1\r\n", stub.reply(busReturn, 1, "a(ssssssouso)", long)), "ends past"},
		"talkative": {after("OK 1\r\n", bytes.Repeat(stub.reply(4, 0, "", nil), maxSignals+1)), "no answer among"},
	} {
		_, err := askSystemd(t.Context(), dialerOf{buses[0].socket: c.serve})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// The guest's own sockets: who does not answer is left when the time is up.
func TestLocalDial(t *testing.T) {
	d, ok := Local().(dialer)
	if !ok && runtime.GOOS == "linux" {
		t.Fatal("the running system cannot be dialled, want that it can")
	}
	if !ok {
		t.Skip("no sockets of a guest on this system")
	}
	dir, err := os.MkdirTemp("", "bus")
	check(t, err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	defer l.Close()
	stub := systemdStub{t: t, units: [][5]string{{"a.service", "A", "loaded", "failed", "failed"}}}
	go func() {
		if conn, err := l.Accept(); err == nil {
			stub.serve(conn)
		}
	}()
	got, err := askBus(t.Context(), d, socket, false)
	check(t, err)
	if got["a.service"] != (state{"failed", "failed"}) {
		t.Errorf("got %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := l.Accept()
		if err == nil {
			io.ReadFull(conn, make([]byte, 10))
			cancel()
		}
	}()
	if _, err := askBus(ctx, d, socket, false); !errors.Is(err, context.Canceled) {
		t.Errorf("silence: got %v, want %v", err, context.Canceled)
	}
}

func FuzzBus(f *testing.F) {
	stub := systemdStub{units: [][5]string{{"a.service", "A", "loaded", "active", "running"}}}
	f.Add(append([]byte("OK 1\r\n"), stub.reply(busReturn, 1, "a(ssssssouso)", stub.list())...))
	f.Add([]byte("OK 1\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		for _, broker := range []bool{false, true} {
			conn := struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(answer), io.Discard}
			if found, err := listUnits(conn, broker); err != nil && len(found) > len(answer) {
				t.Errorf("%d units in %d bytes", len(found), len(answer))
			}
		}
	})
}
