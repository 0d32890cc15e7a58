package disk

import (
	"errors"
	"fmt"
	"io"
)

// A Layer is one file of a disk's chain. A chain is listed oldest first; each
// layer holds what was written since the one before it.
type Layer struct {
	Path   string
	Format string // qcow2 or raw; never guessed
}

// A Disk is a chain of layers, read as its guest would. It may be read by many
// goroutines at once.
type Disk struct {
	layers []layer
}

// A layer is one opened file of a chain.
type layer interface {
	io.Closer
	// size returns the bytes of the disk that the layer shows.
	size() int64
	// lookup tells who holds the bytes from off on, and for how many of them, at
	// most n, the answer counts. off+n lies within size.
	lookup(off, n int64) (span, error)
	// readSpan fills p from what lookup answered, off being the same.
	readSpan(p []byte, s span, off int64) error
	// written calls fn, in order, for all ranges that do not show through to the
	// layer below.
	written(fn func(Extent)) error
}

// A span is where some bytes of a layer are.
type span struct {
	kind where
	at   int64 // in the file, if kind is inFile; the entry of its table if compressed
	n    int64 // bytes that the answer counts for, at least 1
}

type where int

const (
	below      where = iota // this layer has nothing there
	zeroes                  // this layer says zero
	inFile                  // at an offset in the layer's file
	compressed              // in a compressed cluster
)

// Open opens a chain, oldest first; the names of backing files that are written
// in the files are not followed. The caller closes the disk.
func Open(layers []Layer) (*Disk, error) {
	if len(layers) == 0 {
		return nil, errors.New("disk: no layers: want the files of a chain, oldest first")
	}
	d := &Disk{}
	for _, l := range layers {
		opened, err := openLayer(l)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.layers = append(d.layers, opened)
	}
	return d, nil
}

func openLayer(l Layer) (layer, error) {
	switch l.Format {
	case "raw":
		return openRaw(l.Path)
	case "qcow2":
		return openQcow2(l.Path)
	}
	return nil, fmt.Errorf("disk: %s: format %q, want qcow2 or raw", l.Path, l.Format)
}

// Close closes the layers' files.
func (d *Disk) Close() error {
	var errs []error
	for _, l := range d.layers {
		errs = append(errs, l.Close())
	}
	d.layers = nil
	return errors.Join(errs...)
}

// Size returns the disk's size in bytes: that of the newest layer.
func (d *Disk) Size() int64 { return d.layers[len(d.layers)-1].size() }

// ReadAt reads as the guest would. It is an io.ReaderAt.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("disk: read at %d: want an offset from 0 on", off)
	}
	want := len(p)
	p = p[:max(0, min(int64(want), d.Size()-off))]
	if err := d.read(len(d.layers)-1, p, off); err != nil {
		return 0, err
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return want, nil
}

// read fills p from layer top and what lies below it.
func (d *Disk) read(top int, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := d.step(top, p, off)
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// step fills the start of p and returns how many bytes it filled.
func (d *Disk) step(top int, p []byte, off int64) (int64, error) {
	n := int64(len(p))
	for i := top; i >= 0; i-- {
		l := d.layers[i]
		// A layer reads as zero behind its end, whatever lies below it.
		if off >= l.size() {
			break
		}
		s, err := l.lookup(off, min(n, l.size()-off))
		if err != nil {
			return 0, err
		}
		n = min(n, s.n)
		switch s.kind {
		case below:
			continue
		case zeroes:
			clear(p[:n])
			return n, nil
		}
		return n, l.readSpan(p[:n], s, off)
	}
	clear(p[:n])
	return n, nil
}

// Changed returns the ranges of the disk for which the layers from index from on
// hold data or zeroes: all that can differ from the disk that layers[:from] were.
// What is not in it reads the same. From 0 on, that is the whole disk.
func (d *Disk) Changed(from int) (Extents, error) {
	if from < 0 || from > len(d.layers) {
		return nil, fmt.Errorf("disk: changed since layer %d: want 0 to %d", from, len(d.layers))
	}
	if from == 0 {
		return merge([]Extent{{0, d.Size()}}), nil
	}
	var all []Extent
	size := d.layers[from-1].size()
	for _, l := range d.layers[from:] {
		if err := l.written(func(x Extent) { all = append(all, x) }); err != nil {
			return nil, err
		}
		lo, hi := min(size, l.size()), max(size, l.size())
		all = append(all, Extent{lo, hi - lo})
		size = l.size()
	}
	return merge(all).Within(0, d.Size()), nil
}
