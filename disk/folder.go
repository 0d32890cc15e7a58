package disk

import (
	"bytes"
	"cmp"
	"fmt"
)

// A Dirent is a name in a folder.
type Dirent struct {
	Name string // any bytes but "/" and NUL
	Ino  uint32
	Type uint32 // S_IFMT bits of st_mode; 0 if the folder does not tell
}

const (
	maxFolder  = 1 << 30 // bytes of one folder
	maxDirents = 1 << 21 // of one folder
)

// ReadDir lists a folder but for "." and "..", in the order on the disk. With
// an error it returns what it could read.
func (fs *Ext4) ReadDir(n uint32) ([]Dirent, error) {
	i, err := fs.Inode(n)
	if err != nil {
		return nil, err
	}
	return fs.readDir(i)
}

func (fs *Ext4) readDir(i *Inode) ([]Dirent, error) {
	if err := i.want(modeDir, "folder"); err != nil {
		return nil, err
	}
	d := &listing{fs: fs, i: i}
	if i.Flags&flagInline != 0 {
		return d.all, d.inline()
	}
	if i.Size < 0 || i.Size > maxFolder {
		return nil, i.fail("folder of %d bytes, want at most %d", i.Size, maxFolder)
	}
	err := fs.visit(i, visitor{data: d.run})
	return d.all, err
}

// listing collects the entries of a folder. An index (htree) is hidden in what
// looks like unused entries: reading all blocks in order passes over it.
type listing struct {
	fs  *Ext4
	i   *Inode
	all []Dirent
}

// run reads the entries of a piece of the folder, up to the folder's size.
func (d *listing) run(r run) error {
	size := uint64(d.i.Size) / uint64(d.fs.bs)
	for k := uint64(0); k < r.n && r.at+k < size && !r.unwritten; k++ {
		b, err := d.fs.block(r.block + k)
		if err != nil {
			return err
		}
		if err := d.block(b); err != nil {
			return err
		}
	}
	return nil
}

// inline reads the entries of a folder that is in its inode: the parent's
// number, then entries in the rest of the 60 bytes, then those in an attribute.
func (d *listing) inline() error {
	b, err := d.fs.inline(d.i)
	if err != nil {
		return err
	}
	if err := d.block(b[4:60]); err != nil {
		return err
	}
	return d.block(b[60:])
}

// block reads the entries that fill b.
func (d *listing) block(b []byte) error {
	for len(b) >= 8 {
		n := recLen(le.Uint16(b[4:]), len(b))
		if n < 8 || n%4 != 0 || n > len(b) || 8+int(b[6]) > n {
			return d.i.fail("folder: entry of %d bytes with a name of %d, in %d bytes", n, b[6], len(b))
		}
		if ino := le.Uint32(b); ino != 0 {
			if err := d.add(ino, b[8:8+int(b[6])], b[7]); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	return nil
}

// recLen decodes an entry's length: 64 KiB do not fit its 16 bits.
func recLen(n uint16, left int) int {
	if left < 65536 && (n == 65535 || n == 0) {
		return 0
	}
	if n == 65535 || n == 0 {
		return 65536
	}
	return int(n)&65532 | int(n&3)<<16
}

var direntTypes = [...]uint32{0, modeReg, modeDir, modeChar, modeBlk, modeFIFO, modeSock, modeLink}

func (d *listing) add(ino uint32, name []byte, kind byte) error {
	if string(name) == "." || string(name) == ".." {
		return nil
	}
	if len(name) == 0 || bytes.ContainsAny(name, "/\x00") {
		return d.i.fail("folder: name %q", name)
	}
	if len(d.all) == maxDirents {
		return d.i.fail("folder: more than %d names", maxDirents)
	}
	e := Dirent{Name: string(name), Ino: ino}
	if d.fs.super.incompat&incompatFiletype != 0 && int(kind) < len(direntTypes) {
		e.Type = direntTypes[kind]
	}
	d.all = append(d.all, e)
	return nil
}

const (
	maxPath  = 64 << 10 // bytes of a path that Walk follows
	maxLevel = 4096     // folders in folders that Walk follows
)

// WalkFunc is shown a path, absolute, and its inode. With an error the inode may
// be nil: that is all there is to know about the path, or, if it is a folder,
// its names are not complete. What it returns ends the walk.
type WalkFunc func(path string, i *Inode, err error) error

// Walk shows fn everything below the root, which is "/", folders before what is in
// them. A folder that is in several others, which no kernel makes, is shown
// each time, but what is in it only once.
func (fs *Ext4) Walk(fn WalkFunc) error {
	root, err := fs.Inode(Root)
	if err != nil {
		return err
	}
	w := &walk{fs: fs, fn: fn, seen: map[uint32]bool{}}
	if root.Mode&modeType != modeDir {
		return root.fail("mode %#o of the root, want a folder", root.Mode)
	}
	if err := fn("/", root, nil); err != nil {
		return err
	}
	return w.folder("", root, 0)
}

type walk struct {
	fs   *Ext4
	fn   WalkFunc
	seen map[uint32]bool // folders
}

// folder shows what is in a folder whose path, without a slash at its end, is given.
func (w *walk) folder(path string, i *Inode, level int) error {
	if w.seen[i.Number] {
		return w.fn(cmp.Or(path, "/"), i, i.fail("folder is in two folders"))
	}
	w.seen[i.Number] = true
	if level > maxLevel || len(path) > maxPath {
		return w.fn(path, i, i.fail("folder %d deep, path of %d bytes: want at most %d and %d", level, len(path), maxLevel, maxPath))
	}
	list, err := w.fs.readDir(i)
	if err != nil {
		if err := w.fn(cmp.Or(path, "/"), i, err); err != nil {
			return err
		}
	}
	for _, e := range list {
		if err := w.entry(path+"/"+e.Name, e.Ino, level); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) entry(path string, ino uint32, level int) error {
	i, err := w.fs.Inode(ino)
	if err != nil {
		return w.fn(path, nil, fmt.Errorf("%s: %w", path, err))
	}
	if err := w.fn(path, i, nil); err != nil {
		return err
	}
	if i.Mode&modeType != modeDir {
		return nil
	}
	return w.folder(path, i, level+1)
}
