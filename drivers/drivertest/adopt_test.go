package drivertest

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/drivers/fake"
	"assay/vm"
)

// A host has machines that are its user's, and lends them.
type host struct {
	vm.Driver
	mu    sync.Mutex
	own   map[string]vm.Machine
	close func(vm.Machine) error // what closing an adopted machine does to it
	find  func(map[string]vm.Machine, string) vm.Machine
	sweep func(*host) int
	lax   bool // what was given back can be dialled still
}

// Adopt implements vm.Adopter.
func (h *host) Adopt(_ context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.own[name]
	if m == nil && h.find != nil {
		m = h.find(h.own, name)
	}
	if m == nil {
		return nil, errors.Join(fs.ErrNotExist, os.RemoveAll(spec.Dir))
	}
	return &lent{wrapped: wrapped{m}, host: h, dir: spec.Dir}, nil
}

// Sweep implements vm.Driver.
func (h *host) Sweep(ctx context.Context, owner string) (int, error) {
	n, err := h.Driver.Sweep(ctx, owner)
	if h.sweep != nil {
		n += h.sweep(h)
	}
	return n, err
}

// A lent machine is given back when it is closed.
type lent struct {
	wrapped
	host *host
	dir  string

	mu   sync.Mutex
	back bool
}

func (l *lent) Dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back && !l.host.lax {
		return nil, net.ErrClosed
	}
	return l.Machine.Dial(ctx)
}

func (l *lent) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back {
		return nil
	}
	l.back = true
	var err error
	if l.host.close != nil {
		err = l.host.close(l.Machine)
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// TestAdopters proves that the rows about adopting pass an honest driver and
// catch every other.
func TestAdopters(t *testing.T) {
	for name, tc := range map[string]struct {
		host *host
		row  string
		want string // of the complaint; empty: none
	}{
		"honest":             {&host{}, "Adopt", ""},
		"honest, unknown":    {&host{}, "AdoptOfUnknown", ""},
		"destroys":           {&host{close: vm.Machine.Close}, "Adopt", "the user's machine is gone"},
		"cannot close twice": {&host{close: func(vm.Machine) error { return errors.New("gone") }}, "Adopt", "gone"},
		"takes any": {&host{find: func(own map[string]vm.Machine, _ string) vm.Machine { return own["mine"] }},
			"AdoptOfUnknown", "want fs.ErrNotExist"},
		"sweeps the user's": {&host{sweep: func(h *host) int { return len(h.own) }}, "Adopt", "not ours to destroy"},
		"can be dialled":    {&host{lax: true}, "Adopt", "that was closed can be dialled"},
	} {
		t.Run(name, func(t *testing.T) {
			h := tc.host
			h.Driver = fake.New()
			h.existing(t)
			got := strings.Join(failures(t, Config{Driver: h, Timeout: 5 * time.Second, Ring: Memory, Existing: h.existing}, tc.row), "\n")
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("%s says %q, want a complaint with %q", tc.row, got, tc.want)
			}
		})
	}
}

// existing makes the user's machine.
func (h *host) existing(t testing.TB) (string, func()) {
	m, err := h.Driver.Launch(t.Context(), vm.Spec{Name: "mine", Owner: "user", Image: vm.Image{Name: "debian-12"}, CPUs: 1, Memory: 1 << 29})
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { m.Close() })
	h.mu.Lock()
	h.own = map[string]vm.Machine{"mine": m}
	h.mu.Unlock()
	return "mine", func() {
		conn, err := m.Dial(t.Context())
		if err != nil {
			t.Errorf("the user's machine is gone: %v", err)
			return
		}
		conn.Close()
	}
}

// TestAdopterNeedsAMachine proves that an adopter that gives the suite nothing to
// adopt does not pass by that.
func TestAdopterNeedsAMachine(t *testing.T) {
	got := failures(t, Config{Driver: &host{Driver: fake.New()}, Timeout: time.Second, Ring: Memory}, "Adopt")
	if len(got) != 1 || !strings.Contains(got[0], "Config.Existing") {
		t.Errorf("got %q, want a complaint about Config.Existing", got)
	}
}
