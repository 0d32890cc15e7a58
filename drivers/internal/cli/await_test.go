package cli_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// silent is a line on which nobody answers.
func silent(t *testing.T) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		host, agent := net.Pipe()
		t.Cleanup(func() { agent.Close() })
		return host, nil
	}
}

// TestAwaitComes proves that a line that is not there at first is tried again, and
// so is one that breaks.
func TestAwaitComes(t *testing.T) {
	tries := 0
	b := cli.Boot{Limit: time.Minute, Alive: func(context.Context) error { return nil }}
	b.Dial = func(context.Context) (net.Conn, error) {
		host, agent := net.Pipe()
		switch tries++; tries {
		case 1:
			return nil, errors.New("not there yet")
		case 2:
			agent.Close()
		default:
			go (&guest.Server{}).Serve(t.Context(), agent)
		}
		return host, nil
	}
	c, err := cli.Await(t.Context(), b)
	if err != nil || tries != 3 {
		t.Fatalf("got %v after %d tries, want an answer to the third", err, tries)
	}
	c.Close()
}

// TestAwaitGivesUp proves that a guest that will not come is given up as soon as
// that is known, and whose doing that is.
func TestAwaitGivesUp(t *testing.T) {
	crashed := errors.New("the hypervisor's process ended")
	for what, tc := range map[string]struct {
		console string
		alive   error
		limit   time.Duration
		says    string
		guests  bool
	}{
		"silence":  {"booting", nil, 50 * time.Millisecond, "no answer from the agent", true},
		"panic":    {"x\nKernel panic - not syncing: \x1b[31mVFS\n", nil, time.Minute, "Kernel panic - not syncing: [31mVFS", true},
		"shutdown": {"", &vm.StoppedError{How: "it shut down"}, time.Minute, "it shut down", true},
		"crash":    {"", crashed, time.Minute, crashed.Error(), false},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := cli.Await(t.Context(), cli.Boot{
				Dial: silent(t), Limit: tc.limit, Alive: func(context.Context) error { return tc.alive },
				Console: func() ([]byte, error) { return []byte(tc.console), nil },
			})
			boot := (*vm.BootError)(nil)
			if err == nil || !strings.Contains(err.Error(), tc.says) || errors.As(err, &boot) != tc.guests {
				t.Fatalf("got %T %v, want %q, the guest's doing: %v", err, err, tc.says, tc.guests)
			}
			if tc.guests && string(boot.Console) != tc.console {
				t.Errorf("got the console %q, want %q", boot.Console, tc.console)
			}
		})
	}
}

// TestAwaitIsCancelled proves that the caller's end is the caller's.
func TestAwaitIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(enough) })
	_, err := cli.Await(ctx, cli.Boot{Dial: silent(t), Limit: time.Minute, Alive: func(context.Context) error { return nil }})
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want %v", err, enough)
	}
}
