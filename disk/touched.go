package disk

import (
	"iter"
	"slices"
)

// An InodeSet is a set of inodes. An inode that nobody looked at is in it.
type InodeSet struct {
	looked, has []uint64 // bits
}

func newInodeSet(n uint32) *InodeSet {
	words := int(n)/64 + 1
	return &InodeSet{make([]uint64, words), make([]uint64, words)}
}

func (s *InodeSet) add(n uint32, has bool) {
	s.looked[n/64] |= 1 << (n % 64)
	if has {
		s.has[n/64] |= 1 << (n % 64)
	}
}

// Has reports whether inode n is in the set.
func (s *InodeSet) Has(n uint32) bool {
	if int(n/64) >= len(s.looked) || s.looked[n/64]&(1<<(n%64)) == 0 {
		return true
	}
	return s.has[n/64]&(1<<(n%64)) != 0
}

// All yields the inodes that were looked at and are in the set, in order.
func (s *InodeSet) All() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for w, bits := range s.has {
			for k := uint32(0); bits != 0; k, bits = k+1, bits>>1 {
				if bits&1 != 0 && !yield(uint32(w)*64+k) {
					return
				}
			}
		}
	}
}

// Touched returns the inodes that changes can have altered: an inode is not in
// it only if its entry and all blocks of its content, its map and its extended
// attributes lie outside of changed, which is in bytes of the file system (see
// Extents.Within, Differing). Entries that are not in use, and inodes that
// contradict themselves, are in it.
//
// It tells the truth about two states of one file system that is laid out as
// before: see LaidOutLike.
func (fs *Ext4) Touched(changed Extents) (*InodeSet, error) { return fs.touched(nil, changed) }

func (fs *Ext4) touched(before *Ext4, changed Extents) (*InodeSet, error) {
	t := &touching{fs: fs, before: before, changed: fs.andMoved(changed), set: newInodeSet(fs.super.inodes), budget: fs.count}
	err := fs.tables(func(g uint64, d group, used uint32) error {
		for k := range used {
			i, err := fs.entry(d, uint32(g)*fs.super.inodesInGroup+k+1)
			if err != nil {
				return err
			}
			if i.Mode != 0 {
				t.set.add(i.Number, t.inode(i))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.values()
	return t.set, nil
}

// andMoved adds the blocks that the journal replaces: the change is in the journal.
func (fs *Ext4) andMoved(changed Extents) Extents {
	if len(fs.moved) == 0 {
		return changed
	}
	all := slices.Clone(changed)
	for block := range fs.moved {
		all = append(all, Extent{int64(block) * fs.bs, fs.bs})
	}
	return merge(all)
}

type touching struct {
	fs      *Ext4
	before  *Ext4 // nil: entries in changed are touched, whatever they say
	changed Extents
	set     *InodeSet
	budget  uint64              // blocks of maps that may still be read: each belongs to one inode
	held    map[uint32][]uint32 // inodes of values, and whose values they are
}

// block reports whether one of n blocks is in the changes.
func (t *touching) block(first, n uint64) bool {
	return t.changed.Overlaps(int64(first)*t.fs.bs, int64(n)*t.fs.bs)
}

// inode reports whether an inode was touched, but for values that have inodes
// of their own.
func (t *touching) inode(i *Inode) bool {
	if t.entry(i) || i.acl != 0 && t.block(i.acl, 1) {
		return true
	}
	err := t.fs.visit(i, visitor{
		data: func(r run) error {
			if t.block(r.block, r.n) {
				return errEnough
			}
			return nil
		},
		node: func(block uint64) error {
			if t.budget == 0 || t.block(block, 1) {
				return errEnough
			}
			t.budget--
			return nil
		},
	})
	if err != nil {
		return true
	}
	return t.fs.super.incompat&incompatEAInode != 0 && t.hold(i) != nil
}

// hold notes which inodes hold values of i.
func (t *touching) hold(i *Inode) error {
	return t.fs.xattrs(i, func(x xattr) error {
		if x.inode != 0 {
			if t.held == nil {
				t.held = map[uint32][]uint32{}
			}
			t.held[x.inode] = append(t.held[x.inode], i.Number)
		}
		return nil
	})
}

// values adds the inodes whose values' inodes were touched.
func (t *touching) values() {
	for holder, owners := range t.held {
		if !t.set.Has(holder) {
			continue
		}
		for _, n := range owners {
			t.set.add(n, true)
		}
	}
}

// maxOrphans bounds the list of deleted inodes.
const maxOrphans = 1 << 20

// Orphans lists the inodes that were deleted while something held them open.
func (fs *Ext4) Orphans() ([]*Inode, error) {
	var out []*Inode
	seen := map[uint32]bool{}
	add := func(n uint32) (*Inode, error) {
		i, err := fs.Inode(n)
		if err != nil {
			return nil, err
		}
		if seen[n] || len(seen) == maxOrphans {
			return nil, &CorruptError{"ext4", "list of deleted inodes is endless"}
		}
		seen[n] = true
		if i.Nlink == 0 {
			out = append(out, i)
		}
		return i, nil
	}
	for n := le.Uint32(fs.super.raw[0xE8:]); n != 0; {
		i, err := add(n)
		if err != nil {
			return out, err
		}
		n = i.dtime
	}
	err := fs.orphanFile(func(n uint32) error { _, err := add(n); return err })
	return out, err
}

// orphanFile calls fn for the inodes in the file of orphans, which newer file
// systems have in place of the list.
func (fs *Ext4) orphanFile(fn func(uint32) error) error {
	if fs.super.compat&compatOrphanFile == 0 {
		return nil
	}
	f, err := fs.Open(le.Uint32(fs.super.raw[0x280:]))
	if err != nil {
		return err
	}
	b := make([]byte, fs.bs)
	for off := int64(0); off < min(f.Size(), maxOrphans*4); off += fs.bs {
		if n, err := f.ReadAt(b, off); n < len(b) {
			return err
		}
		for at := int64(0); at < fs.bs-8; at += 4 { // its tail is a magic number and a checksum
			if n := le.Uint32(b[at:]); n != 0 {
				if err := fn(n); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
