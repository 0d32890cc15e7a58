package engine

import (
	"context"
	"errors"
)

// A spare is memory that a machine has which may be missing.
type spare struct {
	cell    string
	memory  int64
	revoke  func()
	revoked bool
}

// spare gives a cell memory that nobody waits for, and calls revoke when somebody
// does. The memory comes back by release, with no processors.
func (p *pool) spare(cell string, memory int64, revoke func()) bool {
	want := Capacity{0, memory + overhead}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 || !p.fits(want) {
		return false
	}
	p.give(cell, want, 1)
	p.spares = append(p.spares, &spare{cell: cell, memory: want.Memory, revoke: revoke})
	return true
}

// unspare forgets a spare of a cell that was released. p.mu is held.
func (p *pool) unspare(cell string, memory int64) {
	for i, s := range p.spares {
		if s.cell == cell && s.memory == memory {
			p.spares = append(p.spares[:i:i], p.spares[i+1:]...)
			return
		}
	}
}

// reclaim asks for spares back if a request lacks nothing but their memory, the
// youngest first, and reports whether memory will come back. p.mu is held.
func (p *pool) reclaim() bool {
	for _, r := range p.queue {
		free := p.free.Memory
		if r.want.CPUs > p.free.CPUs || r.want.Memory <= free {
			continue
		}
		for i := len(p.spares) - 1; i >= 0 && free < r.want.Memory; i-- {
			s := p.spares[i]
			free += s.memory
			if !s.revoked {
				s.revoked = true
				go s.revoke()
			}
		}
		if free >= r.want.Memory {
			return true
		}
	}
	return false
}

func (s *seat) spare(_ context.Context, memory int64, revoke func()) bool {
	return s.run.pool.spare(s.cell, memory, revoke)
}

// spare answers a child that asks for memory to spare.
func (w *watch) spare(p *process, c claim) *grant {
	revoke := func() { _ = p.pipe.send(message{Revoke: c.ID}) } // a child that is gone has released it
	if w.seat.run.pool.spare(w.seat.cell, c.Memory, revoke) {
		return &grant{ID: c.ID}
	}
	return &grant{ID: c.ID, Failure: newFailure(errors.New("no room"))}
}

func (r *remote) spare(ctx context.Context, memory int64, revoke func()) bool {
	c, ready := r.claim(0, memory, revoke)
	if r.pipe.send(message{Spare: &c}) != nil {
		return false
	}
	select {
	case err := <-ready:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// revoke is what the parent said of a spare.
func (r *remote) revoke(id int) {
	r.mu.Lock()
	revoke := r.spares[id]
	delete(r.spares, id)
	r.mu.Unlock()
	if revoke != nil {
		go revoke()
	}
}
