package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"assay/vm"
)

const mib = 1 << 20

// asks starts a reservation and returns where its answer comes.
func asks(p *pool, cell string, cpus int, memory int64) <-chan error {
	got := make(chan error, 1)
	go func() { got <- p.reserve(context.Background(), cell, claim{CPUs: cpus, Memory: memory}) }()
	queued := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.ContainsFunc(p.queue, func(r *request) bool { return r.cell == cell })
	}
	for len(got) == 0 && !queued() {
		time.Sleep(time.Millisecond)
	}
	return got
}

func granted(t *testing.T, what string, got <-chan error) {
	t.Helper()
	select {
	case err := <-got:
		if err != nil {
			t.Errorf("%s: got %v, want a grant", what, err)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: got no answer, want a grant", what)
	}
}

func waits(t *testing.T, what string, got <-chan error) {
	t.Helper()
	select {
	case err := <-got:
		t.Errorf("%s: got %v, want it to wait", what, err)
	default:
	}
}

// TestPoolWaits proves that what does not fit waits, in order, until it does.
func TestPoolWaits(t *testing.T) {
	p := newPool(Capacity{CPUs: 2, Memory: 1024 * mib})
	granted(t, "a", asks(p, "a", 1, 400*mib))
	granted(t, "b", asks(p, "b", 1, 200*mib))
	c := asks(p, "c", 1, 500*mib)
	d := asks(p, "d", 1, 10*mib)
	waits(t, "c", c)
	p.release("b", 1, 200*mib)
	waits(t, "c, for memory", c)
	waits(t, "d, behind c", d)
	p.release("a", 1, 400*mib)
	granted(t, "c", c)
	granted(t, "d", d)
	p.releaseAll("c")
	p.releaseAll("d")
	if p.free != p.total || len(p.held) != 0 {
		t.Errorf("got %+v free, %v held, want all free", p.free, p.held)
	}
}

// TestPoolDeadlock proves that cells that wait for each other's machines go on:
// they share processors, and memory is refused.
func TestPoolDeadlock(t *testing.T) {
	p := newPool(Capacity{CPUs: 2, Memory: 2048 * mib})
	granted(t, "a", asks(p, "a", 1, 800*mib))
	granted(t, "b", asks(p, "b", 1, 800*mib))
	a := asks(p, "a", 1, 50*mib)
	waits(t, "a's second", a)
	b := asks(p, "b", 1, 500*mib)
	granted(t, "a's second, on shared processors", a)
	waits(t, "b's second", b)
	a = asks(p, "a", 1, 600*mib)
	var err error
	select {
	case err = <-a:
	case err = <-b:
	case <-time.After(10 * time.Second):
	}
	if full := (*vm.ResourceError)(nil); !errors.As(err, &full) || full.What != "memory" {
		t.Errorf("got %v, want a memory error for one of the two", err)
	}
}

// TestPoolRefuses proves that what never fits is refused at once.
func TestPoolRefuses(t *testing.T) {
	p := newPool(Capacity{CPUs: 2, Memory: 1024 * mib})
	for _, tt := range []struct {
		cpus   int
		memory int64
		want   string
	}{
		{3, mib, "cpus: got 3, want at most 2, which is what this host has"},
		{1, 1000 * mib, "memory: got 1000 MiB, want at most 928 MiB, which is what this host has"},
	} {
		if err := p.reserve(t.Context(), "a", claim{CPUs: tt.cpus, Memory: tt.memory}); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// TestPoolWithdraws proves that a cell that stops waiting holds up nobody.
func TestPoolWithdraws(t *testing.T) {
	p := newPool(Capacity{CPUs: 1, Memory: 1024 * mib})
	granted(t, "a", asks(p, "a", 1, 100*mib))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.reserve(ctx, "b", claim{CPUs: 1, Memory: 100 * mib}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
	p.releaseAll("a")
	granted(t, "c", asks(p, "c", 1, 100*mib))
}

// makes starts a reservation for a machine whose template is not there.
func makes(p *pool, cell, template string) <-chan error {
	got := make(chan error, 1)
	go func() {
		got <- p.reserve(context.Background(), cell, claim{CPUs: 1, Memory: 100 * mib, Template: template})
	}()
	queued := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.ContainsFunc(p.queue, func(r *request) bool { return r.cell == cell })
	}
	for len(got) == 0 && !queued() {
		time.Sleep(time.Millisecond)
	}
	return got
}

// TestPoolMakesTemplatesOnce proves that of the cells that lack one template only
// one is served, that the others hold up nobody, and that they are served when it
// is there, or when its maker failed or died: then one of them makes it.
func TestPoolMakesTemplatesOnce(t *testing.T) {
	p := newPool(Capacity{CPUs: 8, Memory: 4096 * mib})
	granted(t, "a1", makes(p, "a1", "a"))
	a2, a3 := makes(p, "a2", "a"), makes(p, "a3", "a")
	waits(t, "a2, for the template", a2)
	granted(t, "b1, of another template", makes(p, "b1", "b"))
	granted(t, "c, which lacks none", asks(p, "c", 1, 100*mib))
	if len(p.held) != 3 {
		t.Errorf("got %v held, want nothing by those who wait", p.held)
	}
	p.launched("a1", "a", false)
	granted(t, "a2, after a1 failed", a2)
	waits(t, "a3, for a2", a3)
	p.releaseAll("a2") // it died
	granted(t, "a3, after a2 died", a3)
	p.launched("a3", "a", true)
	granted(t, "a4", makes(p, "a4", "a"))
	granted(t, "a5, which looked before the template was there", makes(p, "a5", "a"))
}
