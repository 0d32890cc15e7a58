package disk

import (
	"errors"
	"io"
)

// A Partition is a range of a disk, and what it holds.
type Partition struct {
	Number int    // as the guest's kernel counts: 1, 2 …, logical ones from 5 on; 0 is a disk without a table
	Offset int64  // bytes
	Size   int64  // bytes
	Type   string // by content: ext2 ext3 ext4 xfs btrfs f2fs vfat exfat ntfs swap luks lvm raid squashfs erofs iso9660 …; "" if unknown
	UUID   string // of the content
	Label  string // of the content; it may hold any bytes
}

// Partitions lists a disk's partitions by number.
func (d *Disk) Partitions() ([]Partition, error) { return Partitions(d, d.Size()) }

// Partitions lists the partitions of a disk of size bytes by number. A disk
// without a table is one partition of number 0.
func Partitions(r io.ReaderAt, size int64) ([]Partition, error) {
	return nil, errors.ErrUnsupported
}
