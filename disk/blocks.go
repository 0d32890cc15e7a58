package disk

import (
	"fmt"
	"io"
	"sync"
)

// blocks reads a file system: what its journal holds goes before what is in place.
type blocks struct {
	r     io.ReaderAt
	bs    int64
	count uint64            // of the blocks
	moved map[uint64]logged // blocks that the journal holds a newer version of

	mu     sync.RWMutex
	chunks map[int64][]byte // metadata read, by number of the chunk
}

// A logged block is one that is to be read from the journal.
type logged struct {
	block   uint64 // where it is
	escaped bool   // its first four bytes were the journal's magic number
}

const (
	chunkLen  = 16 << 10
	maxChunks = (64 << 20) / chunkLen
)

// readAt fills p. What is not in the file system is a *CorruptError.
func (b *blocks) readAt(p []byte, off int64) error {
	if end := int64(b.count) * b.bs; off < 0 || off > end || int64(len(p)) > end-off {
		return &CorruptError{"ext4", fmt.Sprintf("%d bytes at %d lie outside of the %d blocks", len(p), off, b.count)}
	}
	if len(b.moved) == 0 {
		return b.fill(p, off)
	}
	for len(p) > 0 {
		n := min(int64(len(p)), b.bs-off%b.bs)
		if err := b.readMoved(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

func (b *blocks) fill(p []byte, off int64) error {
	n, err := b.r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	return fmt.Errorf("disk: ext4: read %d bytes at %d: got %d: %w", len(p), off, n, err)
}

// readMoved fills p, which lies in one block.
func (b *blocks) readMoved(p []byte, off int64) error {
	m, ok := b.moved[uint64(off/b.bs)]
	if !ok {
		return b.fill(p, off)
	}
	in := off % b.bs
	if err := b.fill(p, int64(m.block)*b.bs+in); err != nil {
		return err
	}
	if m.escaped && in < 4 {
		magic := be.AppendUint32(nil, journalMagic)
		copy(p, magic[in:])
	}
	return nil
}

// meta returns n bytes of metadata. They are shared: nobody may change them.
func (b *blocks) meta(off, n int64) ([]byte, error) {
	if in := off % chunkLen; off >= 0 && in+n <= chunkLen {
		c, err := b.chunk(off / chunkLen)
		if err == nil && in+n <= int64(len(c)) {
			return c[in : in+n : in+n], nil
		}
	}
	p := make([]byte, n)
	return p, b.readAt(p, off)
}

// chunk returns the metadata chunk of that number; the last one may be short.
func (b *blocks) chunk(number int64) ([]byte, error) {
	b.mu.RLock()
	c := b.chunks[number]
	b.mu.RUnlock()
	if c != nil {
		return c, nil
	}
	off := number * chunkLen
	c = make([]byte, max(0, min(chunkLen, int64(b.count)*b.bs-off)))
	if err := b.readAt(c, off); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.chunks) >= maxChunks {
		clear(b.chunks)
	}
	b.chunks[number] = c
	return c, nil
}

// block returns a block of metadata, shared.
func (b *blocks) block(n uint64) ([]byte, error) {
	if n == 0 || n >= b.count {
		return nil, &CorruptError{"ext4", fmt.Sprintf("block %d, want 1 to %d", n, b.count-1)}
	}
	return b.meta(int64(n)*b.bs, b.bs)
}
