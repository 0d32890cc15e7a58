package disk

import (
	"fmt"
	"io"
	"sort"
	"sync"
)

// A File is the content of a regular file. Reading on is for one goroutine at a
// time; ReadAt is for many.
type File struct {
	Inode  *Inode
	fs     *Ext4
	runs   []run  // written ones, in order; what is between them is zero
	inline []byte // the content, if it is in the entry
	off    int64  // of the next Read
}

// Open opens a regular file. Closing it is a matter of form: it holds nothing.
func (fs *Ext4) Open(n uint32) (*File, error) {
	i, err := fs.Inode(n)
	if err != nil {
		return nil, err
	}
	return fs.OpenInode(i)
}

// OpenInode opens a regular file whose inode is at hand.
func (fs *Ext4) OpenInode(i *Inode) (*File, error) {
	if err := i.want(modeReg, "regular file"); err != nil {
		return nil, err
	}
	return fs.content(i)
}

// content opens whatever an inode's blocks hold.
func (fs *Ext4) content(i *Inode) (*File, error) {
	if i.Size < 0 {
		return nil, i.fail("size %d", i.Size)
	}
	f := &File{Inode: i, fs: fs}
	if i.Flags&flagInline != 0 {
		b, err := fs.inline(i)
		f.inline = b[:min(int64(len(b)), i.Size)]
		return f, err
	}
	err := fs.visit(i, visitor{data: func(r run) error {
		if !r.unwritten {
			f.runs = append(f.runs, r)
		}
		return nil
	}})
	return f, err
}

// Size returns the content's bytes.
func (f *File) Size() int64 { return f.Inode.Size }

// Close does nothing.
func (f *File) Close() error { return nil }

// Read is an io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := f.ReadAt(p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt is an io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("disk: ext4: inode %d: read at %d: want an offset from 0 on", f.Inode.Number, off)
	}
	want := len(p)
	p = p[:max(0, min(int64(want), f.Size()-off))]
	for done := 0; done < len(p); {
		n, err := f.step(p[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	if len(p) < want {
		return len(p), io.EOF
	}
	return want, nil
}

// step fills the start of p, which is not empty, and returns how many bytes.
func (f *File) step(p []byte, off int64) (int, error) {
	if f.inline != nil {
		n := 0
		if off < int64(len(f.inline)) {
			n = copy(p, f.inline[off:])
		}
		clear(p[n:])
		return len(p), nil
	}
	bs := f.fs.bs
	at := uint64(off / bs)
	k := sort.Search(len(f.runs), func(k int) bool { return f.runs[k].at+f.runs[k].n > at })
	if k == len(f.runs) {
		clear(p)
		return len(p), nil
	}
	r := f.runs[k]
	start := int64(r.at) * bs
	if off < start {
		n := min(int64(len(p)), start-off)
		clear(p[:n])
		return int(n), nil
	}
	n := min(int64(len(p)), start+int64(r.n)*bs-off)
	return int(n), f.fs.readAt(p[:n], int64(r.block)*bs+off-start)
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// WriteTo writes what is left, in large pieces: io.Copy uses it.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	var total int64
	for {
		n, err := f.Read(*b)
		if n > 0 {
			m, werr := w.Write((*b)[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// maxLink is the longest target that a kernel makes or follows.
const maxLink = 4096

// Readlink returns a symlink's target, as a kernel would: up to its first NUL.
func (fs *Ext4) Readlink(n uint32) (string, error) {
	i, err := fs.Inode(n)
	if err != nil {
		return "", err
	}
	if err := i.want(modeLink, "symlink"); err != nil {
		return "", err
	}
	if i.Size <= 0 || i.Size > maxLink {
		return "", i.fail("symlink of %d bytes, want 1 to %d", i.Size, maxLink)
	}
	if i.fastLink() {
		return target(i.raw[0x28 : 0x28+i.Size]), nil
	}
	f, err := fs.content(i)
	if err != nil {
		return "", err
	}
	b := make([]byte, i.Size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return "", err
	}
	return target(b), nil
}

func target(b []byte) string {
	for k, c := range b {
		if c == 0 {
			return string(b[:k])
		}
	}
	return string(b)
}
