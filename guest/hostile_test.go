package guest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/guest"
	"assay/guest/guesttest"
)

// liar is a System that sends what it likes and says what it likes.
type liar struct {
	guest.System
	tar  []byte
	info guest.Info
	exit guest.Exit
}

func (l liar) Send(_ context.Context, _ string, _ guest.PullOptions, w io.Writer) (guest.TransferStats, error) {
	w.Write(l.tar)
	return guest.TransferStats{}, nil
}
func (l liar) Info(context.Context) (guest.Info, error) { return l.info, nil }
func (l liar) Exec(context.Context, guest.Command, guest.Streams) (guest.Exit, error) {
	return l.exit, nil
}

// archive makes a tar of headers; a file's content is its size in x's, unless
// that is too much to be true.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 1<<20 {
			return b.Bytes()
		}
		io.WriteString(w, strings.Repeat("x", int(h.Size)))
	}
	w.Close()
	return b.Bytes()
}

func dirEntry(name string) tar.Header { return tar.Header{Typeflag: tar.TypeDir, Name: name} }
func fileEntry(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 3}
}
func linkEntry(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

func TestPullOfHostileTree(t *testing.T) {
	sparse := fileEntry("r/f")
	sparse.PAXRecords = map[string]string{"XNU.sparse.major": "1"} // a writer refuses the real one
	sparseBytes := bytes.ReplaceAll(archive(t, dirEntry("r/"), sparse), []byte("XNU.sparse"), []byte("GNU.sparse"))
	for name, b := range map[string][]byte{
		"nothing":          nil,
		"empty archive":    archive(t),
		"garbage":          bytes.Repeat([]byte("garbage!"), 1000),
		"parent":           archive(t, dirEntry("r/"), fileEntry("../escaped")),
		"parent inside":    archive(t, dirEntry("r/"), fileEntry("r/../../escaped")),
		"absolute":         archive(t, dirEntry("r/"), fileEntry("/tmp/escaped")),
		"dot root":         archive(t, dirEntry("./")),
		"dotdot root":      archive(t, dirEntry("../")),
		"second root":      archive(t, dirEntry("r/"), fileEntry("s")),
		"two files":        archive(t, fileEntry("r"), fileEntry("r")),
		"no folder":        archive(t, dirEntry("r/"), fileEntry("r/a/f")),
		"folder left":      archive(t, dirEntry("r/"), dirEntry("r/a/"), dirEntry("r/b/"), fileEntry("r/a/f")),
		"through a link":   archive(t, dirEntry("r/"), linkEntry("r/l", "."), fileEntry("r/l/f")),
		"link to folder":   archive(t, dirEntry("r/"), linkEntry("r/l", "."), dirEntry("r/l/"), fileEntry("r/l/f")),
		"file over folder": archive(t, dirEntry("r/"), dirEntry("r/d/"), fileEntry("r/d")),
		"hard link":        archive(t, dirEntry("r/"), tar.Header{Typeflag: tar.TypeLink, Name: "r/h", Linkname: "/etc/passwd"}),
		"device":           archive(t, dirEntry("r/"), tar.Header{Typeflag: tar.TypeBlock, Name: "r/b", Devmajor: 8}),
		"fifo":             archive(t, dirEntry("r/"), tar.Header{Typeflag: tar.TypeFifo, Name: "r/p"}),
		"too large":        archive(t, dirEntry("r/"), tar.Header{Typeflag: tar.TypeReg, Name: "r/f", Size: 1 << 40}),
		"cut off":          archive(t, dirEntry("r/"), tar.Header{Typeflag: tar.TypeReg, Name: "r/f", Size: 2 << 20}),
		"long name":        archive(t, dirEntry("r/"), fileEntry("r/"+strings.Repeat("n", 256))),
		"deep":             archive(t, deepEntries(140)...),
		"sparse":           sparseBytes,
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			c := guesttest.Serve(t, &guest.Server{System: liar{tar: b}})
			stats, err := c.Pull(limit(t), "/r", base+"/in/r", guest.PullOptions{})
			if err == nil {
				t.Errorf("got %+v and no error", stats)
			}
			entries, _ := os.ReadDir(base)
			if len(entries) > 1 {
				t.Errorf("got %v beside the target", entries)
			}
			if _, err := os.Lstat("/tmp/escaped"); err == nil {
				t.Error("an absolute name was followed")
			}
			if err := c.Ping(limit(t)); err != nil {
				t.Errorf("the line is dead: %v", err)
			}
		})
	}
}

func deepEntries(n int) []tar.Header {
	name, list := "r", []tar.Header(nil)
	for range n {
		list = append(list, dirEntry(name+"/"))
		name += "/d"
	}
	return list
}

func TestPullOfTooMany(t *testing.T) {
	base := t.TempDir()
	b := archive(t, dirEntry("r/"), fileEntry("r/1"), fileEntry("r/2"), fileEntry("r/3"))
	c := guesttest.Serve(t, &guest.Server{System: liar{tar: b}})
	if _, err := c.Pull(limit(t), "/r", base+"/r", guest.PullOptions{MaxFiles: 3}); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("files: got %v, want ErrLimit", err)
	}
	if _, err := c.Pull(limit(t), "/r", base+"/s", guest.PullOptions{MaxBytes: 8}); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("bytes: got %v, want ErrLimit", err)
	}
	if stats, err := c.Pull(limit(t), "/r", base+"/t", guest.PullOptions{MaxBytes: 9, MaxFiles: 4}); err != nil || stats.Bytes != 9 {
		t.Errorf("got %+v, %v, want all of it", stats, err)
	}
}

// TestPullNeverFollowsALinkOnTheHost: the guest names a path where the host has
// a link.
func TestPullNeverFollowsALinkOnTheHost(t *testing.T) {
	base := t.TempDir()
	write(t, base+"/precious", "mine", 0o600)
	os.MkdirAll(base+"/out/r", 0o755)
	if err := os.Symlink(base+"/precious", base+"/out/r/f"); err != nil {
		t.Fatal(err)
	}
	c := guesttest.Serve(t, &guest.Server{System: liar{tar: archive(t, dirEntry("anything/"), fileEntry("anything/f"))}})
	if _, err := c.Pull(limit(t), "/r", base+"/out", guest.PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(base + "/precious"); string(b) != "mine" {
		t.Errorf("got %q, want it untouched", b)
	}
	if names, _ := filepath.Glob(base + "/out/*"); len(names) != 1 {
		t.Errorf("got %v: the guest chose a name", names)
	}
}

func TestWordsOfTheGuestAreBounded(t *testing.T) {
	l := liar{
		info: guest.Info{Hostname: strings.Repeat("h", 10_000), User: "\x1b[2J", CPUs: -1, Memory: -1},
		exit: guest.Exit{Duration: -1, PeakMemory: -1, Signal: "\x07"},
	}
	l.exit.Orphans = make([]assay.Process, 1000)
	l.exit.Orphans[0].Command = "\x1b"
	c := guesttest.Serve(t, &guest.Server{System: l})
	info, err := c.Info(limit(t))
	if err != nil || len(info.Hostname) > 300 || info.User != `\x1b[2J` || info.CPUs != 0 || info.Memory != 0 {
		t.Errorf("got %.500v, %v", info, err)
	}
	exit, err := c.Exec(limit(t), guest.Command{Shell: "x"}, nil, nil, nil)
	if err != nil || exit.Duration != 0 || exit.PeakMemory != 0 || exit.Signal != `\a` ||
		len(exit.Orphans) != 100 || exit.Orphans[0].Command != `\x1b` {
		t.Errorf("got %+v, %v", exit, err)
	}
}

// rawFrame is a frame as the wire has it.
func rawFrame(kind byte, call uint32, payload []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint32(b, call)
	return append(b, payload...)
}

// hostileAgent answers the hello and then sends reply to whatever it is asked.
func hostileAgent(t testing.TB, reply []byte, endless bool) *guest.Client {
	host, agent := guesttest.Pipe(t)
	go func() {
		hello := make([]byte, 40)
		if _, err := io.ReadFull(agent, hello); err != nil {
			return
		}
		agent.Write(guest.Welcome(hello))
		opened := make([]byte, 1)
		for { // the opening, not another hello
			if _, err := agent.Read(opened); err != nil {
				return
			}
			if opened[0] != 0xa5 {
				break
			}
			io.ReadFull(agent, hello[:39])
		}
		go io.Copy(io.Discard, agent)
		agent.Write(reply)
		for endless {
			if _, err := agent.Write(reply); err != nil {
				return
			}
		}
		<-t.Context().Done()
	}()
	return guesttest.Connect(t, host)
}

func TestHostileAgent(t *testing.T) {
	nested := `{"result":{"A":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}}`
	for _, tt := range []struct {
		name    string
		reply   []byte
		endless bool
		line    bool // the line must die; else only the call fails
	}{
		{"garbage", []byte("HTTP/1.1 200 OK\r\n\r\n"), false, true},
		{"giant frame", append(binary.LittleEndian.AppendUint32(nil, 1<<31), 2, 1, 0, 0, 0), false, true},
		{"frame of the host", rawFrame(1, 1, []byte(`{}`)), false, true},
		{"output beyond the window", rawFrame(2, 1, make([]byte, 100_000)), true, true},
		{"result that is no JSON", rawFrame(8, 1, []byte("{")), false, false},
		{"result that nests", rawFrame(8, 1, []byte(nested)), false, false},
		{"result of another type", rawFrame(8, 1, []byte(`{"result":[1]}`)), false, false},
		{"unknown calls, then nothing", bytes.Repeat(rawFrame(8, 77, []byte(`{}`)), 3), false, false},
		{"endless unknown calls", bytes.Repeat(rawFrame(2, 77, make([]byte, 1000)), 100), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // an agent that does not end what is cancelled is given time
			c := hostileAgent(t, tt.reply, tt.endless)
			ctx, cancel := context.WithTimeout(limit(t), time.Second)
			defer cancel()
			slow := writerFunc(func(p []byte) (int, error) {
				if tt.line {
					<-c.Done() // take nothing while the agent floods
				}
				return len(p), nil
			})
			var result struct{ A any }
			err := c.Call(ctx, "x", nil, nil, slow, &result)
			line := (*guest.LineError)(nil)
			if err == nil || errors.As(err, &line) != tt.line {
				t.Errorf("got %v, want an error, of the line: %v", err, tt.line)
			}
		})
	}
}

func TestOtherProtocol(t *testing.T) {
	host, agent := guesttest.Pipe(t)
	go func() {
		hello := make([]byte, 40)
		io.ReadFull(agent, hello)
		agent.Write(guest.WelcomeOf(hello, 99))
		io.Copy(io.Discard, agent)
	}()
	_, err := guest.Connect(limit(t), host)
	version := (*guest.VersionError)(nil)
	if !errors.As(err, &version) || !strings.Contains(err.Error(), "protocol 99") || !strings.Contains(err.Error(), "want 1") {
		t.Errorf("got %v, want both versions named", err)
	}
}

// stream is a line that says what it was given and then ends.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

// FuzzServe sends anything to an agent: it must neither panic nor hang.
func FuzzServe(f *testing.F) {
	hello := guest.Hello()
	open := func(method string, input bool) []byte {
		b, _ := json.Marshal(map[string]any{"method": method, "input": input})
		return rawFrame(1, 1, b)
	}
	f.Add([]byte{})
	f.Add(hello)
	f.Add(append(make([]byte, 9), hello...))
	f.Add(append(append(append([]byte(nil), hello...), open("echo", true)...), rawFrame(2, 1, []byte("data"))...))
	f.Add(append(append(append([]byte(nil), hello...), open("block", false)...), rawFrame(6, 1, nil)...))
	f.Add(append(append(append([]byte(nil), hello...), open("ping", false)...), open("ping", false)...))
	f.Add(append(append(append([]byte(nil), hello...), rawFrame(1, 1, []byte(`{"method":"echo","args":[[[`))...), hello...))
	f.Add(append(append([]byte(nil), hello...), rawFrame(5, 1, []byte{255, 255, 255, 255})...))
	f.Add(append(append([]byte(nil), hello...), rawFrame(7, 1, []byte(`{"Rows":-1}`))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := guest.Server{Handlers: map[string]guest.Handler{"echo": handlers()["echo"], "block": handlers()["block"]}}
		done := make(chan struct{})
		go func() {
			s.Serve(context.Background(), stream{bytes.NewReader(b), io.Discard})
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("it hangs")
		}
	})
}

// FuzzClient lets an agent answer anything: the host must neither panic nor hang.
func FuzzClient(f *testing.F) {
	f.Add([]byte{})
	f.Add(rawFrame(8, 1, []byte(`{"result":1}`)))
	f.Add(rawFrame(8, 1, []byte(`{"error":"no","kind":"not_exist"}`)))
	f.Add(append(rawFrame(2, 1, []byte("out")), rawFrame(3, 1, []byte("err"))...))
	f.Add(rawFrame(5, 1, []byte{1, 2, 3, 4}))
	f.Add(append(make([]byte, 9), rawFrame(8, 1, []byte(`{}`))...))
	f.Add(rawFrame(8, 1, []byte(`{"result":`+strings.Repeat("[", 100))))
	f.Fuzz(func(t *testing.T, b []byte) {
		host, agent := guesttest.Pipe(t)
		go func() {
			hello := make([]byte, 40)
			io.ReadFull(agent, hello)
			agent.Write(append(guest.Welcome(hello), b...))
			agent.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, agent)
		}()
		c := guesttest.Connect(t, host)
		var result any
		c.Call(limit(t), "x", nil, strings.NewReader("in"), nil, &result)
		<-c.Done()
	})
}

// FuzzUnpack lets a guest send any tree.
func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, dirEntry("r/"), dirEntry("r/d/"), fileEntry("r/d/f"), linkEntry("r/l", "d/f")))
	f.Add(archive(f, fileEntry("r")))
	f.Add(archive(f, dirEntry("r/"), fileEntry("../x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		base := t.TempDir()
		guest.Unpack(bytes.NewReader(b), base+"/in/r", guest.PullOptions{MaxBytes: 1 << 16, MaxFiles: 100})
		if entries, _ := os.ReadDir(base); len(entries) > 1 {
			t.Errorf("got %v beside the target", entries)
		}
	})
}
