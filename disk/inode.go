package disk

import (
	"fmt"
	"math"
)

// Types of files, as in st_mode.
const (
	modeType = 0xF000
	modeFIFO = 0x1000
	modeChar = 0x2000
	modeDir  = 0x4000
	modeBlk  = 0x6000
	modeReg  = 0x8000
	modeLink = 0xA000
	modeSock = 0xC000
)

// Flags of inodes that keep everybody from changing them.
const (
	FlagImmutable = 0x10 // nothing of it changes
	FlagAppend    = 0x20 // it only grows
)

// Flags of inodes.
const (
	flagEncrypted = 0x800
	flagHugeFile  = 0x40000
	flagExtents   = 0x80000
	flagEAInode   = 0x200000
	flagInline    = 0x10000000
)

// An Inode describes a file. Times are Nanoseconds.
type Inode struct {
	Number                     uint32
	Mode                       uint32 // st_mode: type and permission bits
	UID, GID                   uint32
	Nlink                      uint32
	Size                       int64
	Blocks                     int64  // of 512 bytes, as lstat gives it: what the file system claims
	Rdev                       uint64 // as lstat gives it
	Atime, Mtime, Ctime, Btime int64  // Btime is 0 where the inode has no place for it
	Flags                      uint32 // EXT4_*_FL, as lsattr shows them
	Generation                 uint32
	Damaged                    bool // its checksum is wrong; a kernel refuses to load it

	raw   []byte // the entry, shared
	at    int64  // of the entry, in bytes
	dtime uint32 // when it was deleted, or the next orphan
	acl   uint64 // block of extended attributes; 0 if none
}

// Inode reads inode n, in use or not.
func (fs *Ext4) Inode(n uint32) (*Inode, error) {
	if n == 0 || n > fs.super.inodes {
		return nil, &CorruptError{"ext4", fmt.Sprintf("inode %d, want 1 to %d", n, fs.super.inodes)}
	}
	d, err := fs.group(uint64((n - 1) / fs.super.inodesInGroup))
	if err != nil {
		return nil, err
	}
	return fs.entry(d, n)
}

// entry reads inode n, which is in the group that d describes.
func (fs *Ext4) entry(d group, n uint32) (*Inode, error) {
	at := int64(d.table)*fs.bs + int64((n-1)%fs.super.inodesInGroup)*fs.super.inodeSize
	raw, err := fs.meta(at, fs.super.inodeSize)
	if err != nil {
		return nil, err
	}
	i := fs.parseInode(n, raw)
	i.at = at
	return i, nil
}

func (fs *Ext4) parseInode(n uint32, raw []byte) *Inode {
	u16 := func(at int) uint32 { return uint32(le.Uint16(raw[at:])) }
	u32 := func(at int) uint32 { return le.Uint32(raw[at:]) }
	i := &Inode{
		Number: n, raw: raw, Mode: u16(0), UID: u16(2) | u16(0x78)<<16, GID: u16(0x18) | u16(0x7A)<<16, Nlink: u16(0x1A),
		Flags: u32(0x20), Generation: u32(0x64), Size: int64(u32(4)), dtime: u32(0x14),
		acl:   uint64(u32(0x68)) | uint64(u16(0x76))<<32,
		Atime: fs.time(raw, 8, 0x8C), Ctime: fs.time(raw, 0xC, 0x84), Mtime: fs.time(raw, 0x10, 0x88),
	}
	if i.Mode&modeType == modeReg || fs.super.incompat&incompatLargedir != 0 {
		i.Size |= int64(u32(0x6C)) << 32
	}
	i.Blocks = int64(u32(0x1C)) | int64(u16(0x74))<<32
	if i.Flags&flagHugeFile != 0 {
		i.Blocks *= fs.bs / 512
	}
	if end := extraEnd(raw); end >= 0x94 {
		i.Btime = fs.time(raw, 0x90, 0x94)
	}
	if t := i.Mode & modeType; t == modeChar || t == modeBlk {
		i.Rdev = rdev(u32(0x28), u32(0x2C))
	}
	i.Damaged = fs.super.ro&roMetadataCsum != 0 && !fs.inodeSumRight(n, raw)
	return i
}

// extraEnd returns where the fields of an entry end, which begin with 128 bytes.
func extraEnd(raw []byte) int {
	if len(raw) <= 128 {
		return 128
	}
	end := 128 + int(le.Uint16(raw[128:]))
	if end%4 != 0 || end > len(raw) {
		return 128
	}
	return end
}

// time reads the seconds at sec, and at extra nanoseconds and two further bits
// of the seconds.
func (fs *Ext4) time(raw []byte, sec, extra int) int64 {
	s, ns := int64(int32(le.Uint32(raw[sec:]))), int64(0)
	if extraEnd(raw) >= extra+4 {
		x := le.Uint32(raw[extra:])
		s += int64(x&3) << 32
		ns = int64(x >> 2)
	}
	return Nanoseconds(s, ns)
}

// Nanoseconds returns a time since 1970 in nanoseconds; of one that the type can't
// hold, the type's last or first.
func Nanoseconds(sec, nsec int64) int64 {
	const last = math.MaxInt64/1_000_000_000 - 1
	switch {
	case sec >= last:
		return math.MaxInt64
	case sec <= -last:
		return math.MinInt64
	}
	return sec*1e9 + nsec
}

// rdev understands both ways of writing down a device.
func rdev(old, new uint32) uint64 {
	if old != 0 {
		return mkdev(old>>8&0xFF, old&0xFF)
	}
	return mkdev(new>>8&0xFFF, new&0xFF|new>>12&0xFFF00)
}

// mkdev writes a device's number as the guest's kernel does, whatever the host's.
func mkdev(major, minor uint32) uint64 {
	return uint64(major&0xFFF)<<8 | uint64(major&^0xFFF)<<32 | uint64(minor&0xFF) | uint64(minor&^0xFF)<<12
}

func (fs *Ext4) inodeSumRight(n uint32, raw []byte) bool {
	var zero, four [4]byte
	le.PutUint32(four[:], n)
	sum := crc32c(fs.super.csumSeed, four[:])
	sum = crc32c(sum, raw[0x64:0x68])
	sum = crc32c(sum, raw[:0x7C])
	sum = crc32c(sum, zero[:2])
	sum = crc32c(sum, raw[0x7E:128])
	want, mask := uint32(le.Uint16(raw[0x7C:])), uint32(0xFFFF)
	if len(raw) > 128 {
		rest := raw[128:]
		sum = crc32c(sum, rest[:2])
		if extraEnd(raw) >= 0x84 {
			sum = crc32c(sum, zero[:2])
			want, mask = want|uint32(le.Uint16(rest[2:]))<<16, ^uint32(0)
			sum = crc32c(sum, rest[4:])
		} else {
			sum = crc32c(sum, rest[2:])
		}
	}
	return sum&mask == want
}

// fail words damage of an inode.
func (i *Inode) fail(format string, args ...any) error {
	return &CorruptError{fmt.Sprintf("ext4: inode %d", i.Number), fmt.Sprintf(format, args...)}
}

// want says that an inode has the type, and that its content can be read.
func (i *Inode) want(mode uint32, name string) error {
	if i.Mode&modeType != mode {
		return fmt.Errorf("disk: ext4: inode %d: mode %#o, want a %s", i.Number, i.Mode, name)
	}
	if i.Flags&flagEncrypted != 0 {
		return &UnsupportedError{fmt.Sprintf("ext4: inode %d", i.Number), "encrypt"}
	}
	return nil
}
