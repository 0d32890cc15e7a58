package guest_test

import (
	"errors"
	"io"
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
