package guest

import (
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The sizes of direct writing. A file that is smaller than directMin is soon
// read again, as programs are, and is better kept in memory.
const (
	directMin   = 8 << 20
	directChunk = 1 << 20
	directAlign = 4096
)

// A directWriter writes a new file past the page cache, which costs a translated
// guest as much as all the rest of a transfer. Where the file system refuses, it
// writes as everybody does.
type directWriter struct {
	f   *os.File
	buf []byte // of directChunk bytes, aligned
	n   int    // bytes in buf
	off bool   // not direct any more
}

// largeWriter returns a writer for size bytes of the new file f, and a function
// that writes what is left.
func largeWriter(f *os.File, size int64) (io.Writer, func() error) {
	if size < directMin || setDirect(f, true) != nil {
		return f, func() error { return nil }
	}
	d := &directWriter{f: f, buf: alignedBuffer()}
	return d, d.finish
}

func alignedBuffer() []byte {
	raw := make([]byte, directChunk+directAlign)
	skip := -int(uintptr(unsafe.Pointer(&raw[0]))) & (directAlign - 1)
	return raw[skip:][:directChunk]
}

func (d *directWriter) Write(p []byte) (total int, err error) {
	for len(p) > 0 && err == nil {
		n := copy(d.buf[d.n:], p)
		d.n, p, total = d.n+n, p[n:], total+n
		if d.n == len(d.buf) {
			err = d.flush(d.n)
		}
	}
	return total, err
}

// flush writes the first n bytes of the buffer, and keeps the others.
func (d *directWriter) flush(n int) error {
	written, err := d.f.Write(d.buf[:n])
	if err != nil && !d.off { // refused, or cut short: buffered writing says whether it is serious
		if err = d.buffered(); err == nil {
			_, err = d.f.Write(d.buf[written:n])
		}
	}
	d.n = copy(d.buf, d.buf[n:d.n])
	return err
}

// finish writes what is left: whole blocks directly, the rest not.
func (d *directWriter) finish() error {
	if whole := d.n &^ (directAlign - 1); whole > 0 {
		if err := d.flush(whole); err != nil {
			return err
		}
	}
	if err := d.buffered(); err != nil || d.n == 0 {
		return err
	}
	return d.flush(d.n)
}

func (d *directWriter) buffered() error {
	if d.off {
		return nil
	}
	d.off = true
	return setDirect(d.f, false)
}

// largeReader returns a reader of the size bytes of f. What the guest's memory
// does not hold already is read past the page cache.
func largeReader(f *os.File, size int64) io.Reader {
	if size < directMin || cached(f) || setDirect(f, true) != nil {
		return f
	}
	return &directReader{f: f, buf: alignedBuffer()}
}

// cached reports whether f's beginning can be read without waiting for the disk.
func cached(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return true
	}
	var n int
	cerr := raw.Control(func(fd uintptr) {
		n, err = unix.Preadv2(int(fd), [][]byte{make([]byte, directAlign)}, 0, unix.RWF_NOWAIT)
	})
	return cerr != nil || n > 0 || err != unix.EAGAIN
}

// A directReader reads a file past the page cache, or as everybody does where
// the file system refuses.
type directReader struct {
	f    *os.File
	buf  []byte
	rest []byte // of buf
	off  bool
}

func (d *directReader) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		n, err := d.f.Read(d.buf)
		if err != nil && err != io.EOF && !d.off {
			if d.off, err = true, setDirect(d.f, false); err == nil {
				n, err = d.f.Read(d.buf)
			}
		}
		if err != nil {
			return 0, err
		}
		d.rest = d.buf[:n]
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// setDirect switches O_DIRECT.
func setDirect(f *os.File, on bool) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		var flags int
		if flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil {
			return
		}
		flags &^= unix.O_DIRECT
		if on {
			flags |= unix.O_DIRECT
		}
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
	})
	if cerr != nil {
		return cerr
	}
	return err
}
