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
	"strings"
	"sync"
	"testing"
	"time"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}`

// request is what the scripted monitor reads.
type request struct {
	Execute   string          `json:"execute"`
	ID        int             `json:"id"`
	Arguments json.RawMessage `json:"arguments"`
}

// script starts a monitor that greets, accepts qmp_capabilities, and then gives
// every further request to answer, which writes what it likes.
func script(t *testing.T, answer func(w io.Writer, r request)) net.Conn {
	t.Helper()
	host, qemu := net.Pipe()
	t.Cleanup(func() { host.Close(); qemu.Close() })
	go func() {
		defer qemu.Close()
		fmt.Fprintln(qemu, greeting)
		in := bufio.NewScanner(qemu)
		for in.Scan() {
			var r request
			if err := json.Unmarshal(in.Bytes(), &r); err != nil {
				t.Errorf("request: %v", err)
				return
			}
			if r.Execute == "qmp_capabilities" {
				fmt.Fprintf(qemu, "{\"return\": {}, \"id\": %d}\n", r.ID)
				continue
			}
			answer(qemu, r)
		}
	}()
	return host
}

func open(t *testing.T, conn net.Conn, listen ...func(event)) *monitor {
	t.Helper()
	q, err := openMonitor(t.Context(), conn, listen...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.close)
	return q
}

func TestCallReturnsResultPastEvents(t *testing.T) {
	events := make(chan string, 4)
	q := open(t, script(t, func(w io.Writer, r request) {
		fmt.Fprintln(w, `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}`)
		fmt.Fprintln(w, `{"return": {"status": "nobody asked"}, "id": 4711}`)
		fmt.Fprintf(w, "{\"return\": {\"status\": \"paused\"}, \"id\": %d}\n", r.ID)
	}), func(e event) { events <- e.name })
	var got struct{ Status string }
	if err := q.call(t.Context(), "query-status", nil, &got); err != nil || got.Status != "paused" {
		t.Errorf("got %+v, %v, want paused", got, err)
	}
	if e := <-events; e != "STOP" {
		t.Errorf("event: got %q, want STOP", e)
	}
}

func TestCallReturnsRefusal(t *testing.T) {
	q := open(t, script(t, func(w io.Writer, r request) {
		fmt.Fprintf(w, "{\"id\": %d, \"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x' not found\"}}\n", r.ID)
	}))
	err := q.call(t.Context(), "set_link", map[string]any{"name": "x"}, nil)
	var refused *qmpError
	if !errors.As(err, &refused) || refused.Class != "DeviceNotFound" {
		t.Fatalf("got %v, want DeviceNotFound", err)
	}
	if want := "qmp: set_link: Device 'x' not found (DeviceNotFound)"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// Answers come in the reverse order of the questions; each caller gets its own.
func TestConcurrentCallersGetTheirOwnAnswers(t *testing.T) {
	const callers = 20
	var held []int
	q := open(t, script(t, func(w io.Writer, r request) {
		held = append(held, r.ID)
		if len(held) < callers {
			return
		}
		for i := len(held) - 1; i >= 0; i-- {
			fmt.Fprintf(w, "{\"id\": %d, \"return\": %d}\n", held[i], held[i])
		}
	}))
	var wg sync.WaitGroup
	seen := make(chan int, callers)
	for range callers {
		wg.Go(func() {
			var got int
			if err := q.call(t.Context(), "echo", nil, &got); err != nil {
				t.Error(err)
			}
			seen <- got
		})
	}
	wg.Wait()
	close(seen)
	distinct := map[int]bool{}
	for n := range seen {
		distinct[n] = true
	}
	if len(distinct) != callers {
		t.Errorf("got %d distinct answers, want %d", len(distinct), callers)
	}
}

func TestLongAnswer(t *testing.T) {
	body := strings.Repeat("x", 1<<20)
	q := open(t, script(t, func(w io.Writer, r request) {
		fmt.Fprintf(w, "{\"id\": %d, \"return\": %q}\n", r.ID, body)
	}))
	var got string
	if err := q.call(t.Context(), "human-monitor-command", nil, &got); err != nil || got != body {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body))
	}
}

func TestSilenceEndsWithTheContext(t *testing.T) {
	q := open(t, script(t, func(io.Writer, request) {}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := q.call(ctx, "stop", nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop") {
		t.Errorf("got %v, want a deadline that names the command", err)
	}
	if len(q.pending) != 0 {
		t.Errorf("got %d pending commands, want none", len(q.pending))
	}
}

func TestSilentGreetingEndsWithTheContext(t *testing.T) {
	host, qemu := net.Pipe()
	defer qemu.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := openMonitor(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}

func TestEndOfMonitorFailsEveryCaller(t *testing.T) {
	got := make(chan struct{}, 3)
	conn := script(t, func(w io.Writer, r request) { got <- struct{}{} })
	q := open(t, conn)
	errs := make(chan error, 3)
	for range 3 {
		go func() { errs <- q.call(context.Background(), "stop", nil, nil) }()
	}
	for range 3 {
		<-got
	}
	conn.Close()
	for range 3 {
		if err := <-errs; !errors.Is(err, errMonitorClosed) {
			t.Errorf("got %v, want %v", err, errMonitorClosed)
		}
	}
	if err := q.call(t.Context(), "cont", nil, nil); err == nil {
		t.Error("a call after the end succeeded")
	}
}

func TestGarbageEndsTheMonitor(t *testing.T) {
	for name, line := range map[string]string{
		"not json":   "\xff\x00garbage",
		"wrong type": `{"id": "seven", "return": {}}`,
		"array":      `[1,2,3]`,
	} {
		t.Run(name, func(t *testing.T) {
			q := open(t, script(t, func(w io.Writer, r request) { fmt.Fprintln(w, line) }))
			if err := q.call(t.Context(), "stop", nil, nil); err == nil || !strings.Contains(err.Error(), "want a message") {
				t.Errorf("got %v, want a complaint about the message", err)
			}
		})
	}
}

func TestGarbageGreeting(t *testing.T) {
	for _, line := range []string{"SSH-2.0-x", `{"return": {}}`, ""} {
		host, qemu := net.Pipe()
		go func() { fmt.Fprintln(qemu, line); qemu.Close() }()
		if _, err := openMonitor(t.Context(), host); err == nil || !strings.Contains(err.Error(), "greeting") {
			t.Errorf("%q: got %v, want a complaint about the greeting", line, err)
		}
	}
}

func TestEndlessLineIsRefused(t *testing.T) {
	endless := bufio.NewReaderSize(io.LimitReader(zeros{}, maxMessage+1<<20), 64<<10)
	if _, err := readLine(endless); err == nil || !strings.Contains(err.Error(), "want less") {
		t.Errorf("got %v, want a limit", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
