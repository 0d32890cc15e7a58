//go:build linux

package qemu

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A guestMemory is the memory of a running guest, as its process shows it.
type guestMemory struct {
	regions []region
	size    int64
	own     []span   // what is the process's own, sorted; known after saveOwn
	base    *os.File // what the rest is a private mapping of; nil if nothing
	memory  *os.File // /proc/PID/mem
	pagemap *os.File // /proc/PID/pagemap
}

// openMemory finds the guest's memory of size bytes in its process.
func (p *process) openMemory(ctx context.Context, from ram, size int64) (*guestMemory, error) {
	g := &guestMemory{size: size}
	var err error
	if g.regions, err = p.regions(ctx, from, size); err != nil {
		return nil, err
	}
	pid := p.cmd.Process.Pid
	if from.path != "" {
		if g.base, err = os.Open(from.path); err != nil {
			return nil, err
		}
	}
	if g.memory, err = os.Open(procPath(pid, "mem")); err == nil {
		g.pagemap, err = os.Open(procPath(pid, "pagemap"))
	}
	if err != nil {
		g.close()
		return nil, fmt.Errorf("guest memory: %w; a kernel.yama.ptrace_scope above 1 forbids to read that of one's own children", err)
	}
	return g, nil
}

func (g *guestMemory) close() {
	for _, f := range []*os.File{g.base, g.memory, g.pagemap} {
		f.Close()
	}
}

// regions finds where the process has the guest's memory.
func (p *process) regions(ctx context.Context, from ram, size int64) ([]region, error) {
	if from.path == "" {
		address, err := p.hostAddress(ctx)
		return []region{{address, 0, size}}, err
	}
	found, err := mapped(p.cmd.Process.Pid, from.path)
	var sum int64
	for _, r := range found {
		sum += r.size
	}
	if err == nil && sum != size {
		err = fmt.Errorf("guest memory: got a mapping of %d bytes of %s, want %d", sum, from.path, size)
	}
	return found, err
}

// hostAddress asks QEMU where it has the first byte of the guest's memory.
func (p *process) hostAddress(ctx context.Context) (uint64, error) {
	var said string
	err := p.monitor.call(ctx, "human-monitor-command", map[string]any{"command-line": "gpa2hva 0"}, &said)
	if err != nil {
		return 0, err
	}
	_, at, ok := strings.Cut(strings.TrimSpace(said), " is 0x")
	address, err := strconv.ParseUint(at, 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("gpa2hva: got %.200q, want an address", said)
	}
	return address, nil
}

// createRAM makes a new file for a guest's memory, all zeros.
func createRAM(path string, size int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// shareRAM is share for a guest's memory, whose copy keeps its holes.
func shareRAM(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := createRAM(to, info.Size())
	if err != nil {
		return err
	}
	defer dst.Close()
	return copyRest(dst, src, nil, info.Size())
}

// saveOwn copies the pages that the process has of its own. The guest must
// stand still.
func (g *guestMemory) saveOwn(dst *os.File) error {
	for _, r := range g.regions {
		spans, err := dirty(g.pagemap, r)
		if err != nil {
			return err
		}
		if err := dump(dst, g.memory, r, spans); err != nil {
			return err
		}
		g.own = append(g.own, spans...)
	}
	return nil
}

// saveRest copies the other pages, which never change.
func (g *guestMemory) saveRest(dst *os.File) error {
	if g.base == nil {
		return nil
	}
	return copyRest(dst, g.base, g.own, g.size)
}
