package disk

import "bytes"

// TouchedSince is Touched for a file system of which an earlier state can be
// read: an entry that lies in changed counts as touched only if it differs from
// before's by more than when the inode was last read. Both must be laid out
// alike: see LaidOutLike.
func (fs *Ext4) TouchedSince(before *Ext4, changed Extents) (*InodeSet, error) {
	return fs.touched(before, changed)
}

// entry reports whether an inode's entry was touched.
func (t *touching) entry(i *Inode) bool {
	if !t.changed.Overlaps(i.at, t.fs.super.inodeSize) {
		return false
	}
	if t.before == nil {
		return true
	}
	old, err := t.before.Inode(i.Number)
	return err != nil || !alike(old, i)
}

// unread are the fields of an entry that reading a file changes: the time of
// access, and with it the checksum.
var unread = []struct{ from, to int }{{0x08, 0x0C}, {0x7C, 0x7E}, {0x82, 0x84}, {0x8C, 0x90}}

// alike reports whether two entries differ in nothing but the fields of unread. A
// checksum that is wrong is a difference.
func alike(a, b *Inode) bool {
	if len(a.raw) != len(b.raw) || a.Damaged != b.Damaged {
		return false
	}
	from := 0
	for _, u := range unread {
		if u.to > extraEnd(a.raw) {
			break // extended attributes, from here on
		}
		if !bytes.Equal(a.raw[from:u.from], b.raw[from:u.from]) {
			return false
		}
		from = u.to
	}
	return bytes.Equal(a.raw[from:], b.raw[from:])
}
