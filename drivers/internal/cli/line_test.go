//go:build unix

package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
)

// end ends the process whose id a file has. It is one that a test started.
func end(t *testing.T, file string) {
	t.Helper()
	if err := syscall.Kill(number(t, file), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// number waits for a number in a file.
func number(t *testing.T, file string) int {
	t.Helper()
	for range 1000 {
		data, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s: got no number", file)
	return 0
}

// dead waits for a process's end.
func dead(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is left", pid)
}

// TestACallTakesItsChildrenAlong proves that the end of a limit ends what the
// tool started, too.
func TestACallTakesItsChildrenAlong(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc to look into")
	}
	file := t.TempDir() + "/pid"
	tool := cli.Tool{Name: "sh"}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		number(t, file)
		cancel()
	}()
	if _, err := tool.Run(ctx, "-c", "sleep 1000 & echo $! >"+file+"; wait"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	dead(t, number(t, file))
}

// TestServiceThatHoldsThePipes proves that a call that starts its hypervisor's
// service, which inherits the pipes, is over when the call itself is.
func TestServiceThatHoldsThePipes(t *testing.T) {
	pid := t.TempDir() + "/pid"
	tool := cli.Tool{Name: "sh"}
	r, err := tool.Run(t.Context(), "-c", "sleep 1000 & echo $! >"+pid+"; echo done")
	if err != nil || r.Text() != "done" {
		t.Errorf("got %q, %v; want done", r.Text(), err)
	}
	end(t, pid)
}

// TestStream proves that a tool's standard input and output are a line: bytes go
// both ways, deadlines hold, its end says why, and closing ends the tool.
func TestStream(t *testing.T) {
	over := make(chan bool, 1)
	standin.New(t, "hyper", func(c *standin.Call) int {
		switch c.Args[0] {
		case "echo":
			_, _ = io.Copy(c.Stdout, c.Stdin)
		case "die":
			c.Printf("last words")
			return c.Fail(3, "no such guest")
		case "quit":
			return c.Printf("bye")
		case "hang":
			c.Printf("x")
		}
		<-c.Ctx.Done()
		over <- true
		return 0
	})
	tool := cli.Tool{Name: "hyper"}
	open := func(word string) net.Conn {
		t.Helper()
		conn, err := tool.Stream(t.Context(), word)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	t.Run("both ways", func(t *testing.T) {
		conn := open("echo")
		buf := make([]byte, 5)
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
			t.Errorf("got %q, %v; want hello", buf, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
	t.Run("its end says why", func(t *testing.T) {
		data, err := io.ReadAll(open("die"))
		if string(data) != "last words" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "no such guest") {
			t.Errorf("got %q, %v; want the tool's words", data, err)
		}
		if data, err := io.ReadAll(open("quit")); string(data) != "bye" || err != nil {
			t.Errorf("got %q, %v; want bye and a plain end", data, err)
		}
	})
	t.Run("closing ends it", func(t *testing.T) {
		conn := open("hang")
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		<-over
		if err := conn.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("second Close: got %v", err)
		}
	})
}

// TestStreamOutlivesItsContext proves that only closing ends a line.
func TestStreamOutlivesItsContext(t *testing.T) {
	standin.New(t, "hyper", func(c *standin.Call) int {
		_, _ = io.Copy(c.Stdout, c.Stdin)
		return 0
	})
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := (&cli.Tool{Name: "hyper"}).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("after its context's end: got %v, want an echo", err)
	}
}

// TestOneLineAtATime proves what a Line promises.
func TestOneLineAtATime(t *testing.T) {
	var l cli.Line
	first, far := net.Pipe()
	if _, err := l.Take(first); err != nil {
		t.Fatal(err)
	}
	second, _ := net.Pipe()
	if _, err := l.Take(second); err != nil {
		t.Fatal(err)
	}
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the earlier line: got %v, want its end", err)
	}
	l.Cut()
	if _, err := second.Write([]byte("x")); err == nil {
		t.Errorf("a line that was cut takes bytes")
	}
	l.Close()
	third, _ := net.Pipe()
	if conn, err := l.Take(third); !errors.Is(err, net.ErrClosed) || conn != nil || !l.Closed() {
		t.Errorf("after Close: got %v, %v; want net.ErrClosed", conn, err)
	}
	if _, err := third.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the line that came too late: got %v, want it closed", err)
	}
}

// TestTurn proves that one at a time changes a machine, and nobody after its end.
func TestTurn(t *testing.T) {
	turn := cli.NewTurn()
	inner, give, err := turn.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := turn.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second turn: got %v, want to wait", err)
	}
	ended := make(chan bool)
	go func() {
		first, over := turn.End()
		over()
		ended <- first
	}()
	<-inner.Done() // what is under way learns of the end
	if err := context.Cause(inner); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what is under way: got %v, want net.ErrClosed", err)
	}
	give()
	if !<-ended {
		t.Errorf("the first End is not the first")
	}
	if first, over := turn.End(); first {
		t.Errorf("the second End is the first")
	} else {
		over()
	}
	if _, _, err := turn.Take(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: got %v, want net.ErrClosed", err)
	}
}

// TestExplained proves that a broken line says what became of the machine, and
// that its own closing and deadlines need no explanation.
func TestExplained(t *testing.T) {
	stopped := errors.New("the guest shut down")
	why := func(context.Context) error { return stopped }
	near, far := net.Pipe()
	far.Close()
	if _, err := cli.Explained(near, why).Read(make([]byte, 1)); !errors.Is(err, stopped) || !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the reason and io.EOF", err)
	}
	near, _ = net.Pipe()
	conn := cli.Explained(near, why)
	if err := conn.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, stopped) {
		t.Errorf("a deadline: got %v", err)
	}
	conn.Close()
	if _, err := conn.Write(make([]byte, 1)); errors.Is(err, stopped) {
		t.Errorf("after Close: got %v", err)
	}
}
