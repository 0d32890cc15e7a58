package disk

import (
	"fmt"
	"io"
	"os"
)

// raw is a layer whose file is the disk, byte for byte.
type raw struct {
	f *os.File
	n int64
}

func openRaw(path string) (layer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	// Seeking also finds the size of a block device.
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("disk: size of %s: %w", path, err)
	}
	return &raw{f, n}, nil
}

func (r *raw) Close() error { return r.f.Close() }
func (r *raw) size() int64  { return r.n }

func (r *raw) lookup(off, n int64) (span, error) { return span{inFile, off, n}, nil }

func (r *raw) readSpan(p []byte, s span, _ int64) error { return readZero(r.f, p, s.at) }

func (r *raw) written(fn func(Extent)) error {
	fn(Extent{0, r.n})
	return nil
}

// readZero fills p; what lies behind the end of the file is zero.
func readZero(f *os.File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return fmt.Errorf("disk: %w", err)
	}
	clear(p[n:])
	return nil
}
