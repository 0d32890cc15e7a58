package images

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// Where things are in an ext4 file system without metadata checksums and with
// 32-byte group descriptors, which is how mke2fs is called here.
const (
	ext4Block      = 4096
	ext4InodeSize  = 256
	ext4Descriptor = 32
	ext4Magic      = 0xEF53
)

// fixTimes makes every time in an ext4 file system a function of the files'
// own: none is later than epoch, and access, change and birth times, which
// nobody can set from outside, are the epoch's. mke2fs takes them from the
// folder that it copies, so they would be those of the build.
func fixTimes(path string, epoch int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, 1024); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint16(super[0x38:]) != ext4Magic || le.Uint32(super[0x18:]) != 2 || le.Uint16(super[0x58:]) != ext4InodeSize {
		return fmt.Errorf("%s: got another file system, want ext4 with blocks of %d and inodes of %d bytes", path, ext4Block, ext4InodeSize)
	}
	blocks, perGroup := le.Uint32(super[0x04:]), le.Uint32(super[0x20:])
	inodes := le.Uint32(super[0x28:])
	groups := make([]byte, (blocks+perGroup-1)/perGroup*ext4Descriptor)
	if _, err := f.ReadAt(groups, ext4Block); err != nil {
		return err
	}
	for ; len(groups) > 0; groups = groups[ext4Descriptor:] {
		table := int64(le.Uint32(groups[0x08:])) * ext4Block
		unused := le.Uint16(groups[0x1C:])
		if err := fixTable(f, table, inodes-uint32(unused), epoch); err != nil {
			return err
		}
	}
	return f.Close()
}

// fixTable does the work of fixTimes for the first n inodes of one table.
func fixTable(f *os.File, offset int64, n uint32, epoch int64) error {
	table := make([]byte, int(n)*ext4InodeSize)
	if _, err := io.ReadFull(io.NewSectionReader(f, offset, int64(len(table))), table); err != nil {
		return err
	}
	for inode := table; len(inode) > 0; inode = inode[ext4InodeSize:] {
		if binary.LittleEndian.Uint16(inode) != 0 {
			fixInode(inode, epoch)
		}
	}
	_, err := f.WriteAt(table, offset)
	return err
}

// fixInode does the work of fixTimes for one inode.
func fixInode(inode []byte, epoch int64) {
	le := binary.LittleEndian
	const atime, ctime, mtime, extraSize = 0x08, 0x0C, 0x10, 0x80
	const ctimeExtra, mtimeExtra, atimeExtra, birth, birthExtra = 0x84, 0x88, 0x8C, 0x90, 0x94
	for _, at := range []int{atime, ctime, birth} {
		le.PutUint32(inode[at:], uint32(epoch))
	}
	le.PutUint32(inode[mtime:], uint32(min(int64(le.Uint32(inode[mtime:])), epoch)))
	// The extra words hold nanoseconds, which tar does not carry everywhere.
	for _, at := range []int{ctimeExtra, mtimeExtra, atimeExtra, birthExtra} {
		if at+4 <= 128+int(le.Uint16(inode[extraSize:])) {
			le.PutUint32(inode[at:], 0)
		}
	}
}
