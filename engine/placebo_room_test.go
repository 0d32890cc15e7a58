package engine

import (
	"testing"
	"time"
)

// TestPoolSpares proves that spare memory is given where nobody waits, and comes
// back, the youngest first, as soon as a real machine lacks nothing else.
func TestPoolSpares(t *testing.T) {
	p := newPool(Capacity{CPUs: 4, Memory: 2000 * mib})
	granted(t, "a", asks(p, "a", 1, 400*mib))
	revoked := make(chan string, 9)
	spare := func(cell string, memory int64) bool {
		return p.spare(cell, memory, func() { revoked <- cell })
	}
	if !spare("a", 400*mib) || !spare("b", 400*mib) {
		t.Fatal("no spare memory, want some: nobody waits")
	}
	if spare("c", 600*mib) {
		t.Error("got more than there is")
	}
	d := asks(p, "d", 1, 500*mib)
	expectRevoked(t, revoked, "b")
	waits(t, "d, until the memory is back", d)
	if spare("c", 10*mib) {
		t.Error("got spare memory while somebody waits")
	}
	p.release("b", 0, 400*mib)
	granted(t, "d", d)
	if len(revoked) != 0 {
		t.Errorf("%s had to give its memory back too, want only as many as it takes", <-revoked)
	}
	e := asks(p, "e", 9, 10*mib) // more processors than there are: refused
	if err := <-e; err == nil {
		t.Error("e was granted")
	}
	p.releaseAll("a")
	p.releaseAll("d")
	if p.free != p.total || len(p.held) != 0 || len(p.spares) != 0 {
		t.Errorf("got %+v free, %v held, %d spares, want all free", p.free, p.held, len(p.spares))
	}
}

// TestPoolSparesNoProcessors proves that a machine that waits for processors
// takes nobody's memory away, and that a deadlock is not declared while memory
// will come back.
func TestPoolSparesNoProcessors(t *testing.T) {
	p := newPool(Capacity{CPUs: 1, Memory: 1500 * mib})
	revoked := make(chan string, 9)
	granted(t, "a", asks(p, "a", 1, 300*mib))
	if !p.spare("a", 500*mib, func() { revoked <- "a" }) {
		t.Fatal("no spare memory")
	}
	b := asks(p, "b", 1, 100*mib)
	waits(t, "b, for a processor", b)
	if len(revoked) != 0 {
		t.Error("memory was taken back for a machine that waits for a processor")
	}
	p.release("a", 1, 300*mib)
	granted(t, "b", b)

	more := asks(p, "b", 1, 700*mib) // and a holds only its spare
	waits(t, "b's second", more)
	p.releaseAll("a")
	granted(t, "b's second, by sharing its processor with itself", more)
}

func expectRevoked(t *testing.T, revoked <-chan string, want string) {
	t.Helper()
	select {
	case got := <-revoked:
		if got != want {
			t.Errorf("%s had to give its memory back, want %s", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody had to give memory back, want %s", want)
	}
}
