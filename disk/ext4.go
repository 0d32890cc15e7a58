package disk

import (
	"fmt"
	"io"
	"iter"
)

// Root is the number of the root folder's inode.
const Root = 2

// An Ext4 is an ext2, ext3 or ext4 file system. It may be read by many
// goroutines at once.
//
// Checksums are checked of the superblock, of the journal and of inodes (see
// Inode.Damaged), and not of descriptors, bitmaps, folders, extents and
// extended attributes: what those say is checked itself.
type Ext4 struct {
	*blocks
	super *super
}

// OpenExt4 opens the file system that begins with r and has at most size bytes.
// A journal that has to be replayed is replayed in memory. Errors:
// *UnsupportedError, which names the feature; *CorruptError.
func OpenExt4(r io.ReaderAt, size int64) (*Ext4, error) {
	fs, err := openExt4(&blocks{r: r}, size)
	if err != nil || fs.super.incompat&incompatRecover == 0 {
		return fs, err
	}
	moved, err := fs.replay()
	if err != nil || len(moved) == 0 {
		return fs, err
	}
	// The superblock itself may be in the journal.
	return openExt4(&blocks{r: r, bs: fs.bs, count: fs.count, moved: moved}, size)
}

// openExt4 opens what is in place in b, or moved.
func openExt4(b *blocks, size int64) (*Ext4, error) {
	source := b.r
	if len(b.moved) > 0 {
		source = movedReader{b}
	}
	s, err := readSuper(source, size)
	if err != nil {
		return nil, err
	}
	if b.moved != nil && s.bs != b.bs {
		return nil, &CorruptError{"ext4", fmt.Sprintf("blocks of %d bytes in the journal's superblock, want %d", s.bs, b.bs)}
	}
	b.bs, b.count, b.chunks = s.bs, s.blocks, map[int64][]byte{}
	return &Ext4{b, s}, nil
}

// movedReader reads blocks as an io.ReaderAt.
type movedReader struct{ b *blocks }

func (m movedReader) ReadAt(p []byte, off int64) (int, error) {
	if err := m.b.readAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// group is what a group's descriptor says.
type group struct {
	bitmap, table uint64 // blocks of the inodes' bitmap and table
	unused        uint32 // inodes at the table's end that were never used
	empty         bool   // no inode was ever used
}

func (fs *Ext4) group(g uint64) (group, error) {
	d, err := fs.meta(fs.super.descAt(g), fs.super.descSize)
	if err != nil {
		return group{}, err
	}
	out := group{bitmap: uint64(le.Uint32(d[4:])), table: uint64(le.Uint32(d[8:]))}
	unused := uint32(le.Uint16(d[0x1C:]))
	if len(d) >= 64 {
		out.bitmap |= uint64(le.Uint32(d[0x24:])) << 32
		out.table |= uint64(le.Uint32(d[0x28:])) << 32
		unused |= uint32(le.Uint16(d[0x32:])) << 16
	}
	if fs.super.ro&(roGdtCsum|roMetadataCsum) != 0 {
		out.unused = min(unused, fs.super.inodesInGroup)
		out.empty = le.Uint16(d[0x12:])&1 != 0
	}
	n := (int64(fs.super.inodesInGroup)*fs.super.inodeSize + fs.bs - 1) / fs.bs
	if out.table == 0 || out.table >= fs.count || fs.count-out.table < uint64(n) {
		return group{}, &CorruptError{"ext4", fmt.Sprintf("group %d: table of %d blocks at block %d of %d", g, n, out.table, fs.count)}
	}
	return out, nil
}

// tables calls fn for every group: its number, its descriptor, and how many
// entries of its table may be in use.
func (fs *Ext4) tables(fn func(g uint64, d group, used uint32) error) error {
	for g := range fs.super.groups {
		d, err := fs.group(g)
		if err != nil {
			return err
		}
		if d.empty {
			continue
		}
		if err := fn(g, d, fs.super.inodesInGroup-d.unused); err != nil {
			return err
		}
	}
	return nil
}

// LaidOutLike reports whether the inodes of fs lie where those of before lay.
// Only then can blocks that did not change since tell that inodes did not.
func (fs *Ext4) LaidOutLike(before *Ext4) (bool, error) {
	if !fs.super.same(before.super) {
		return false, nil
	}
	for g := range fs.super.groups {
		a, err := fs.group(g)
		if err != nil {
			return false, err
		}
		b, err := before.group(g)
		if err != nil {
			return false, err
		}
		if a.table != b.table {
			return false, nil
		}
	}
	return true, nil
}

// Inodes yields the inodes in use, in order. An error ends it.
func (fs *Ext4) Inodes() iter.Seq2[*Inode, error] {
	return func(yield func(*Inode, error) bool) {
		err := fs.tables(func(g uint64, d group, used uint32) error { return fs.usedInodes(g, d, used, yield) })
		if err != nil && err != errEnough {
			yield(nil, err)
		}
	}
}

// errEnough ends a walk whose caller wants no more.
var errEnough = fmt.Errorf("enough")

func (fs *Ext4) usedInodes(g uint64, d group, used uint32, yield func(*Inode, error) bool) error {
	bitmap, err := fs.block(d.bitmap)
	if err != nil {
		return err
	}
	for i := range used {
		if bitmap[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		n, err := fs.entry(d, uint32(g)*fs.super.inodesInGroup+i+1)
		if err != nil {
			return err
		}
		if n.Mode != 0 && !yield(n, nil) {
			return errEnough
		}
	}
	return nil
}
