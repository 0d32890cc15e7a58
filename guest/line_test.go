package guest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/guest"
	"assay/guest/guesttest"
)

func TestMain(m *testing.M) {
	guesttest.Agent(handlers())
	os.Exit(m.Run())
}

// handlers are methods that only move bytes, so that the line can be tested alone.
func handlers() map[string]guest.Handler {
	return map[string]guest.Handler{
		"echo": func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			_, err := io.Copy(out, in)
			return args, err
		},
		"endless": func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			for {
				if _, err := out.Write(make([]byte, 10_000)); err != nil {
					return nil, err
				}
			}
		},
		"block": func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"panic": func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			panic("\x1b[31mred")
		},
		"huge": func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
			return strings.Repeat("x", 1<<20), nil
		},
	}
}

func lineOf(t testing.TB) *guest.Client {
	return guesttest.Serve(t, &guest.Server{Handlers: handlers()})
}

// limit bounds a test by a generous deadline.
func limit(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestCallsShareTheLine(t *testing.T) {
	c, ctx := lineOf(t), limit(t)
	var wg sync.WaitGroup
	for i := range 300 { // more than may be under way at once
		wg.Go(func() {
			want := random(i * 777)
			var got bytes.Buffer
			var result int
			if err := c.Call(ctx, "echo", i, bytes.NewReader(want), &got, &result); err != nil {
				t.Error(err)
			}
			if result != i || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("call %d: got result %d and %d bytes, want %d", i, result, got.Len(), len(want))
			}
		})
	}
	wg.Wait()
}

// blocked is a reader's end that takes nothing until it is opened.
type blocked struct{ open chan struct{} }

func (b blocked) Write(p []byte) (int, error) {
	<-b.open
	return len(p), nil
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	c, ctx := lineOf(t), limit(t)
	slow := blocked{make(chan struct{})}
	sent, done := random(4<<20), make(chan error, 1)
	go func() { done <- c.Call(ctx, "echo", nil, bytes.NewReader(sent), slow, nil) }()
	var got bytes.Buffer
	if err := c.Call(ctx, "echo", nil, bytes.NewReader(sent), &got, nil); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("got %d bytes and %v, want %d", got.Len(), err, len(sent))
	}
	close(slow.open)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCancelEndsACall(t *testing.T) {
	c := lineOf(t)
	for _, method := range []string{"block", "endless"} {
		ctx, cancel := context.WithCancel(limit(t))
		time.AfterFunc(20*time.Millisecond, cancel)
		if err := c.Call(ctx, method, nil, nil, nil, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", method, err)
		}
	}
	if err := c.Ping(limit(t)); err != nil {
		t.Error(err)
	}
}

func TestWriterErrorEndsACall(t *testing.T) {
	c := lineOf(t)
	full := errors.New("disk full")
	err := c.Call(limit(t), "endless", nil, nil, writerFunc(func([]byte) (int, error) { return 0, full }), nil)
	if err != full {
		t.Errorf("got %v, want the writer's own error", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInputErrorEndsACall(t *testing.T) {
	c := lineOf(t)
	err := c.Call(limit(t), "echo", nil, io.MultiReader(strings.NewReader("x"), badReader{}), nil, nil)
	if !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("got %v, want the reader's own error", err)
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, fs.ErrInvalid }

func TestErrorsKeepTheirKind(t *testing.T) {
	c, ctx := lineOf(t), limit(t)
	if err := c.Call(ctx, "nonsense", nil, nil, nil, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
	if _, err := c.Info(ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported from an agent without a system", err)
	}
	if err := c.Call(ctx, "huge", nil, nil, nil, nil); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("got %v, want ErrLimit", err)
	}
	if err := c.Call(ctx, "echo", strings.Repeat("x", 1<<20), nil, nil, nil); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("got %v, want ErrLimit", err)
	}
	err := c.Call(ctx, "panic", nil, nil, nil, nil)
	if remote := (*guest.Error)(nil); !errors.As(err, &remote) || !strings.Contains(err.Error(), `panic: \x1b[31mred`) {
		t.Errorf("got %v, want a panic whose control characters are escaped", err)
	}
	if err := c.Ping(ctx); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	c := lineOf(t)
	done := make(chan error, 1)
	go func() { done <- c.Call(limit(t), "block", nil, nil, nil, nil) }()
	if err := c.Ping(limit(t)); err != nil || c.Err() != nil {
		t.Fatal(err, c.Err())
	}
	c.Close()
	line := (*guest.LineError)(nil)
	if err := <-done; !errors.As(err, &line) {
		t.Errorf("got %v, want a LineError", err)
	}
	<-c.Done()
	if err := c.Err(); !errors.As(err, &line) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want a LineError of net.ErrClosed", err)
	}
	if err := c.Ping(limit(t)); !errors.As(err, &line) {
		t.Errorf("got %v, want a LineError", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestConnectWaitsForTheAgent(t *testing.T) {
	host, agent := guesttest.Pipe(t)
	time.AfterFunc(300*time.Millisecond, func() {
		go (&guest.Server{}).Serve(context.Background(), agent)
	})
	if err := guesttest.Connect(t, host).Ping(limit(t)); err != nil {
		t.Error(err)
	}
}

func TestConnectGivesUp(t *testing.T) {
	host, _ := guesttest.Pipe(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := guest.Connect(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	if _, err := host.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
}

// splice is a line whose host end can be let go and taken up again, as a
// hypervisor's socket can, while the agent's end lives on.
type splice struct {
	mu   sync.Mutex
	conn net.Conn
	next chan net.Conn
}

func (s *splice) Read(p []byte) (int, error) {
	for {
		conn := s.current()
		n, err := conn.Read(p)
		if n > 0 || err == nil {
			return n, nil
		}
		next, ok := <-s.next
		if !ok {
			return 0, io.EOF
		}
		s.mu.Lock()
		s.conn = next
		s.mu.Unlock()
	}
}

func (s *splice) current() net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// Write waits for a host, as a virtio port does.
func (s *splice) Write(p []byte) (int, error) {
	for {
		if n, err := s.current().Write(p); err == nil {
			return n, nil
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *splice) Close() error { return s.current().Close() }

// TestRestore is what a restore does to an agent: the host it talked to is
// gone in the middle of a frame, and another begins.
func TestRestore(t *testing.T) {
	for _, leftover := range []int{0, 1, 8, 9, 100, 70_000} {
		t.Run(fmt.Sprint(leftover), func(t *testing.T) {
			host, agent := guesttest.Pipe(t)
			s := &splice{conn: agent.(net.Conn), next: make(chan net.Conn, 1)}
			started, ended := make(chan struct{}), make(chan struct{})
			h := handlers()
			h["block"] = func(ctx context.Context, _ json.RawMessage, _ io.Reader, _ io.Writer) (any, error) {
				close(started)
				<-ctx.Done()
				close(ended)
				return nil, ctx.Err()
			}
			go (&guest.Server{Handlers: h}).Serve(context.Background(), s)
			first := guesttest.Connect(t, host)
			go first.Call(limit(t), "block", nil, nil, nil, nil)
			go first.Call(limit(t), "endless", nil, nil, blocked{ended}, nil)
			<-started
			if err := first.Ping(limit(t)); err != nil {
				t.Fatal(err)
			}
			half := append([]byte{0, 0, 2, 0, 2, 1, 0, 0, 0}, make([]byte, 100_000)...)
			host.Write(half[:leftover])
			time.Sleep(10 * time.Millisecond)
			first.Close()
			host2, agent2 := guesttest.Pipe(t)
			s.next <- agent2.(net.Conn)
			begin := time.Now()
			second := guesttest.Connect(t, host2)
			t.Logf("after %v", time.Since(begin))
			<-ended
			var got bytes.Buffer
			want := random(1 << 20)
			if err := second.Call(limit(t), "echo", nil, bytes.NewReader(want), &got, nil); err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got %d bytes, %v", got.Len(), err)
			}
			close(s.next)
		})
	}
}

// TestConnectThroughGarbage: what an agent of long ago left in the pipe is
// dropped, old welcomes included.
func TestConnectThroughGarbage(t *testing.T) {
	host, agent := guesttest.Pipe(t)
	go func() {
		for range 20 {
			agent.Write(random(20_000))
			agent.Write(guest.Welcome(guest.Hello()))
			agent.Write(guest.Welcome(guest.Hello())[:30])
		}
		(&guest.Server{Handlers: handlers()}).Serve(context.Background(), agent)
	}()
	if err := guesttest.Connect(t, host).Ping(limit(t)); err != nil {
		t.Error(err)
	}
}
