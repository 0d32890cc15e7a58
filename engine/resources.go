package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"assay/vm"
)

// A Capacity is what machines may use of the host.
type Capacity struct {
	CPUs   int
	Memory int64 // bytes
}

// overhead is what a machine costs beside its own memory.
const overhead = 96 << 20

// A pool gives out the host's processors and memory to cells, so that machines
// are launched only where there is room for them.
//
// Cells are served in the order in which they ask, but one that already has a
// machine goes first, for it will give back more. When every cell that has
// machines waits for another one, the first of them may share processors;
// memory is never shared: the request is refused.
//
// A machine whose template has yet to be made takes long to start, and others
// from the same template would wait for it: of those only one is served until
// the template is there. They hold nothing meanwhile, and hold up nobody.
type pool struct {
	total Capacity

	mu    sync.Mutex
	free  Capacity
	held  map[string]Capacity // by cell
	queue []*request

	making map[string]string // templates, and the cells whose launches make them
	made   map[string]bool   // templates

	spares []*spare // granted, oldest first
}

type request struct {
	cell  string
	want  Capacity
	ready chan error

	template string // that the launch will make; empty: none
}

func newPool(total Capacity) *pool {
	return &pool{total: total, free: total, held: map[string]Capacity{}, making: map[string]string{}, made: map[string]bool{}}
}

// reserve waits for room for one machine of a cell.
func (p *pool) reserve(ctx context.Context, cell string, c claim) error {
	r := &request{cell: cell, want: Capacity{c.CPUs, c.Memory + overhead}, ready: make(chan error, 1), template: c.Template}
	if err := p.total.refuses(c.CPUs, c.Memory); err != nil {
		return err
	}
	p.mu.Lock()
	p.queue = append(p.queue, r)
	p.serve()
	p.mu.Unlock()
	select {
	case err := <-r.ready:
		return err
	case <-ctx.Done():
		return p.withdraw(r, context.Cause(ctx))
	}
}

// refuses says why a machine will never fit.
func (c Capacity) refuses(cpus int, memory int64) error {
	if cpus > c.CPUs {
		return &vm.ResourceError{What: "cpus", Got: fmt.Sprint(cpus), Has: fmt.Sprint(c.CPUs)}
	}
	if memory > c.Memory-overhead {
		return &vm.ResourceError{What: "memory", Got: mebibytes(memory), Has: mebibytes(max(c.Memory-overhead, 0))}
	}
	return nil
}

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", n>>20) }

// withdraw takes r back, or gives back what it got meanwhile.
func (p *pool) withdraw(r *request, cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, r); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	} else if err := <-r.ready; err == nil {
		p.give(r.cell, r.want, -1)
	}
	p.serve()
	return cause
}

// release gives back one machine of a cell.
func (p *pool) release(cell string, cpus int, memory int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.give(cell, Capacity{cpus, memory + overhead}, -1)
	if cpus == 0 {
		p.unspare(cell, memory+overhead)
	}
	p.serve()
}

// launched notes that a cell's launch is over, and whether its template is there.
func (p *pool) launched(cell, template string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making[template] == cell {
		delete(p.making, template)
		p.made[template] = ok
	}
	p.serve()
}

// releaseAll gives back all that a cell has: its process is gone.
func (p *pool) releaseAll(cell string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.give(cell, p.held[cell], -1)
	maps.DeleteFunc(p.making, func(_, maker string) bool { return maker == cell })
	p.spares = slices.DeleteFunc(p.spares, func(s *spare) bool { return s.cell == cell })
	p.serve()
}

// give moves c to a cell, or back if sign is -1.
func (p *pool) give(cell string, c Capacity, sign int) {
	h := p.held[cell]
	h.CPUs += sign * c.CPUs
	h.Memory += int64(sign) * c.Memory
	p.free.CPUs -= sign * c.CPUs
	p.free.Memory -= int64(sign) * c.Memory
	p.held[cell] = h
	if h == (Capacity{}) {
		delete(p.held, cell)
	}
}

// serve answers whoever can be answered. p.mu is held.
func (p *pool) serve() {
	for p.serveOne() {
	}
}

func (p *pool) serveOne() bool {
	blocked := false
	for _, r := range p.queue {
		if p.making[r.template] != "" {
			continue
		}
		_, holds := p.held[r.cell]
		if p.fits(r.want) && (holds || !blocked) {
			p.grant(r)
			return true
		}
		blocked = true
	}
	return !p.reclaim() && p.unlock()
}

func (p *pool) fits(c Capacity) bool { return c.CPUs <= p.free.CPUs && c.Memory <= p.free.Memory }

func (p *pool) grant(r *request) {
	p.give(r.cell, r.want, 1)
	if r.template != "" && !p.made[r.template] {
		p.making[r.template] = r.cell
	}
	p.answer(r, nil)
}

func (p *pool) answer(r *request, err error) {
	p.queue = slices.DeleteFunc(p.queue, func(q *request) bool { return q == r })
	r.ready <- err
}

// unlock answers one request if all that hold something wait for each other.
func (p *pool) unlock() bool {
	var holders []*request
	for _, r := range p.queue {
		if _, holds := p.held[r.cell]; holds {
			holders = append(holders, r)
		}
	}
	if len(holders) == 0 || len(holders) < len(p.held) {
		return false
	}
	for _, r := range holders {
		if r.want.Memory <= p.free.Memory {
			p.grant(r)
			return true
		}
	}
	r := holders[len(holders)-1]
	p.answer(r, &vm.ResourceError{What: "memory", Got: mebibytes(r.want.Memory - overhead),
		Has: mebibytes(max(p.free.Memory-overhead, 0)) + " beside the other machines of this run"})
	return true
}
