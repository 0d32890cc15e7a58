package disk

import (
	"bytes"
	"fmt"
	"io"
)

// Differing narrows extents of a disk to those pieces of step bytes, counted from
// the disk's start, that read otherwise in after than in before. Behind the end of
// either, zeroes are read. step is a power of two, at most 64 KiB: the smaller, the
// more exact; 256 tells apart most inodes.
func Differing(before, after io.ReaderAt, in Extents, step int64) (Extents, error) {
	if step < 1 || step > maxStep || step&(step-1) != 0 {
		return nil, fmt.Errorf("disk: compare in steps of %d bytes: want a power of two, at most %d", step, maxStep)
	}
	c := comparison{step: step}
	for _, x := range in {
		end := x.Off + x.Len
		for off := x.Off; off < end; {
			n := min(end-off, int64(len(c.a))-off%step)
			if err := c.piece(before, after, off, n); err != nil {
				return nil, err
			}
			off += n
		}
	}
	return merge(c.out), nil
}

const maxStep = 64 << 10

// comparison compares in pieces.
type comparison struct {
	step int64
	a, b [4 * maxStep]byte
	out  []Extent
}

func (c *comparison) piece(before, after io.ReaderAt, off, n int64) error {
	a, b := c.a[:n], c.b[:n]
	if err := readOrZero(before, a, off); err != nil {
		return err
	}
	if err := readOrZero(after, b, off); err != nil {
		return err
	}
	if bytes.Equal(a, b) {
		return nil
	}
	for at := int64(0); at < n; {
		to := min(n, at+c.step-(off+at)%c.step)
		if !bytes.Equal(a[at:to], b[at:to]) {
			c.out = append(c.out, Extent{off + at, to - at})
		}
		at = to
	}
	return nil
}

func readOrZero(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	clear(p[n:])
	return err
}
