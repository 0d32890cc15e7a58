package guest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"assay/guest"
	"assay/guest/guesttest"
)

// TestAgentStartedAgain proves that a call whose agent died, wherever in a frame
// that was, ends with a word about it as soon as the next agent speaks.
func TestAgentStartedAgain(t *testing.T) {
	whole := guest.Frame(1, make([]byte, 100<<10)) // output of the call below
	for _, cut := range []int{0, 1, 4, 8, 9, 10, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, len(whole) - 40, len(whole) - 17, len(whole) - 2, len(whole) - 1, len(whole)} {
		host, agent := guesttest.Pipe(t)
		go func() {
			hello := make([]byte, len(guest.Hello()))
			if _, err := io.ReadFull(agent, hello); err != nil {
				return
			}
			agent.Write(guest.Welcome(hello))
			agent.Read(make([]byte, 4<<10)) // the call
			agent.Write(whole[:cut])
			guest.Announce(agent)
			io.Copy(io.Discard, agent)
		}()
		c := guesttest.Connect(t, host)
		err := c.Call(limit(t), "echo", nil, nil, nil, nil)
		if line := (*guest.LineError)(nil); !errors.Is(err, guest.ErrStarted) || !errors.As(err, &line) {
			t.Errorf("died after %d bytes of a frame: got %v, want a dead line and ErrStarted", cut, err)
		}
	}
}

// TestStrayWelcome proves that an answer to the host before, which comes late, is
// no part of what this one is told.
func TestStrayWelcome(t *testing.T) {
	host, agent := guesttest.Pipe(t)
	go func() {
		hello := make([]byte, len(guest.Hello()))
		if _, err := io.ReadFull(agent, hello); err != nil {
			return
		}
		agent.Write(guest.Welcome(hello))
		agent.Write(guest.Welcome(guest.Hello()))
		agent.Read(make([]byte, 4<<10)) // the call
		guest.Announce(agent)
		io.Copy(io.Discard, agent)
	}()
	c := guesttest.Connect(t, host)
	if err := c.Call(limit(t), "echo", nil, nil, nil, nil); !errors.Is(err, guest.ErrStarted) {
		t.Errorf("got %v, want to read on to ErrStarted", err)
	}
}

// A lagging stream ends when it is closed, but a Write that goes on then takes a
// moment longer.
type lagging struct {
	hello  io.Reader
	asked  chan struct{} // closed by the Write
	closed chan struct{}
	wrote  atomic.Bool
}

func (l *lagging) Read(b []byte) (int, error) {
	n, err := l.hello.Read(b)
	if err != nil {
		<-l.asked
	}
	return n, err
}

func (l *lagging) Write(b []byte) (int, error) {
	close(l.asked)
	<-l.closed
	time.Sleep(50 * time.Millisecond)
	l.wrote.Store(true)
	return 0, os.ErrDeadlineExceeded
}

func (l *lagging) Close() error {
	close(l.closed)
	return nil
}

// TestNothingIsSaidAfterServe proves that a line that has ended says nothing any
// more: the next host would hear it.
func TestNothingIsSaidAfterServe(t *testing.T) {
	l := &lagging{hello: bytes.NewReader(guest.Hello()), asked: make(chan struct{}), closed: make(chan struct{})}
	if err := (&guest.Server{}).Serve(limit(t), l); err != nil {
		t.Error(err)
	}
	if !l.wrote.Load() {
		t.Error("Serve returned before its last Write did")
	}
}

// TestConnectToANewAgent: its first words are skipped by a host that begins, and
// calls work.
func TestConnectToANewAgent(t *testing.T) {
	host, agent := guesttest.Pipe(t)
	go func() {
		time.Sleep(30 * time.Millisecond) // several hellos wait by then
		guest.Announce(agent)
		(&guest.Server{}).Serve(limit(t), agent)
	}()
	c := guesttest.Connect(t, host)
	for range 3 {
		if err := c.Ping(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
}
