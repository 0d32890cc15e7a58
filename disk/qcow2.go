package disk

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

const (
	qcowMagic       = 0x514649fb
	qcowMaxL1       = 32 << 20           // bytes, as in QEMU
	qcowOffset      = 0x00fffffffffffe00 // of a table or a cluster, in its entry
	qcowCompressed  = 1 << 62
	qcowZero        = 1
	qcowExternal    = 1 << 2
	qcowCompression = 1 << 3
	qcowExtended    = 1 << 4
	qcowKnown       = 0x1f
)

// qcow2 is a layer in QEMU's format, version 2 or 3.
type qcow2 struct {
	f        *os.File
	path     string
	fileSize int64
	n        int64 // bytes of the disk
	bits     uint  // of an offset in a cluster
	zero     bool  // entries can say zero: version 3
	zstd     bool  // compressed clusters are zstd and not deflate
	l1       []uint64

	mu       sync.Mutex
	l2       map[uint64][]byte // tables read, by offset
	inflated map[int64][]byte  // compressed clusters read lately, by entry
}

func openQcow2(path string) (layer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	q := &qcow2{f: f, path: path, l2: map[uint64][]byte{}, inflated: map[int64][]byte{}}
	if err := q.readHeader(); err != nil {
		f.Close()
		return nil, err
	}
	return q, nil
}

func (q *qcow2) Close() error { return q.f.Close() }
func (q *qcow2) size() int64  { return q.n }

// fail words an error on this file.
func (q *qcow2) fail(format string, args ...any) error {
	return fmt.Errorf("disk: qcow2 %s: %w", q.path, fmt.Errorf(format, args...))
}

func (q *qcow2) readHeader() error {
	h := make([]byte, 112)
	if err := readZero(q.f, h, 0); err != nil {
		return err
	}
	var err error
	if q.fileSize, err = q.f.Seek(0, io.SeekEnd); err != nil {
		return q.fail("%w", err)
	}
	if m := be.Uint32(h); m != qcowMagic {
		return q.fail("begins with %#x, want %#x", m, qcowMagic)
	}
	if err := q.readVersion(h); err != nil {
		return err
	}
	if c := be.Uint32(h[32:]); c != 0 {
		return &UnsupportedError{Subject: q.path, Feature: "qcow2 encryption"}
	}
	bits, size := be.Uint32(h[20:]), be.Uint64(h[24:])
	if bits < 9 || bits > 21 {
		return q.fail("clusters of 1<<%d bytes, want 1<<9 to 1<<21", bits)
	}
	if size > 1<<56 {
		return q.fail("disk of %d bytes, want at most 1<<56", size)
	}
	q.bits, q.n = uint(bits), int64(size)
	return q.readL1(int64(be.Uint32(h[36:])), be.Uint64(h[40:]))
}

// readVersion understands the version and its features.
func (q *qcow2) readVersion(h []byte) error {
	v := be.Uint32(h[4:])
	if v != 2 && v != 3 {
		return q.fail("version %d, want 2 or 3", v)
	}
	if v == 2 {
		return nil
	}
	q.zero = true
	f := be.Uint64(h[72:])
	for _, no := range []struct {
		bit  uint64
		name string
	}{
		{qcowExternal, "qcow2 external data file"},
		{qcowExtended, "qcow2 extended L2 entries"},
		{^uint64(qcowKnown), fmt.Sprintf("qcow2 features %#x", f)},
	} {
		if f&no.bit != 0 {
			return &UnsupportedError{Subject: q.path, Feature: no.name}
		}
	}
	if f&qcowCompression == 0 || be.Uint32(h[100:]) <= 104 {
		return nil
	}
	if h[104] > 1 {
		return &UnsupportedError{Subject: q.path, Feature: fmt.Sprintf("qcow2 compression type %d", h[104])}
	}
	q.zstd = h[104] == 1
	return nil
}

// readL1 reads the table of tables: n entries at offset at.
func (q *qcow2) readL1(n int64, at uint64) error {
	span := int64(1) << (2*q.bits - 3) // bytes of disk under one entry
	if n*8 > qcowMaxL1 || n < (q.n+span-1)/span {
		return q.fail("first table of %d entries: want enough for %d bytes, and at most %d", n, q.n, qcowMaxL1/8)
	}
	b, err := q.table(at, n*8)
	if err != nil {
		return err
	}
	q.l1 = make([]uint64, n)
	for i := range q.l1 {
		q.l1[i] = be.Uint64(b[i*8:]) & qcowOffset
	}
	return nil
}

// table reads n bytes of metadata, all of which must be in the file.
func (q *qcow2) table(at uint64, n int64) ([]byte, error) {
	if at > uint64(q.fileSize) || int64(at)+n > q.fileSize {
		return nil, q.fail("table of %d bytes at %d lies outside of the file's %d bytes", n, at, q.fileSize)
	}
	b := make([]byte, n)
	return b, readZero(q.f, b, int64(at))
}

// maxTables bounds the memory for tables of one file.
const maxTables = 64 << 20

// entries returns the table that the disk's offset is in; nil if there is none.
func (q *qcow2) entries(off int64) ([]byte, error) {
	at := q.l1[off>>(2*q.bits-3)]
	if at == 0 {
		return nil, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.l2[at]; t != nil {
		return t, nil
	}
	t, err := q.table(at, 1<<q.bits)
	if err != nil {
		return nil, err
	}
	if len(q.l2)<<q.bits >= maxTables {
		clear(q.l2)
	}
	q.l2[at] = t
	return t, nil
}

func (q *qcow2) lookup(off, n int64) (span, error) {
	t, err := q.entries(off)
	if err != nil {
		return span{}, err
	}
	cluster := int64(1) << q.bits
	per := cluster / 8 // entries of a table
	if t == nil {
		under := cluster * per
		return span{below, 0, min(n, under-off%under)}, nil
	}
	in, i := off%cluster, off>>q.bits%per
	s := q.span(be.Uint64(t[i*8:]), in)
	s.n = cluster - in
	// Neighbours that go on where this one ends are read at once.
	for i++; i < per && s.n < n && s.kind != compressed; i++ {
		next := q.span(be.Uint64(t[i*8:]), 0)
		if next.kind != s.kind || s.kind == inFile && next.at != s.at+s.n {
			break
		}
		s.n += cluster
	}
	s.n = min(s.n, n)
	return s, nil
}

// span understands an entry, for offset in of its cluster.
func (q *qcow2) span(entry uint64, in int64) span {
	at := entry & qcowOffset
	switch {
	case entry&qcowCompressed != 0:
		return span{kind: compressed, at: int64(entry)}
	case q.zero && entry&qcowZero != 0:
		return span{kind: zeroes}
	case at == 0:
		return span{kind: below}
	}
	return span{kind: inFile, at: int64(at) + in}
}

func (q *qcow2) readSpan(p []byte, s span, off int64) error {
	if s.kind == compressed {
		return q.readCompressed(p, s.at, off&(1<<q.bits-1))
	}
	if s.at >= q.fileSize {
		return q.fail("cluster at %d lies behind the file's %d bytes", s.at, q.fileSize)
	}
	return readZero(q.f, p, s.at)
}

func (q *qcow2) written(fn func(Extent)) error {
	for off := int64(0); off < q.n; {
		s, err := q.lookup(off, q.n-off)
		if err != nil {
			return err
		}
		if s.kind != below {
			fn(Extent{off, s.n})
		}
		off += s.n
	}
	return nil
}
