package disk

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

// Features that the room knows. A file system with another incompatible one
// cannot be read; one with another read-only one can.
const (
	compatHasJournal   = 0x4
	compatSparseSuper2 = 0x200
	compatOrphanFile   = 0x1000

	incompatCompression = 0x1
	incompatFiletype    = 0x2
	incompatRecover     = 0x4
	incompatJournalDev  = 0x8
	incompatMetaBG      = 0x10
	incompat64Bit       = 0x80
	incompatEAInode     = 0x400
	incompatDirdata     = 0x1000
	incompatCsumSeed    = 0x2000
	incompatLargedir    = 0x4000
	incompatRead        = incompatFiletype | incompatRecover | incompatMetaBG | 0x40 /* extents */ | incompat64Bit |
		0x100 /* mmp */ | 0x200 /* flex_bg */ | incompatEAInode | incompatCsumSeed | incompatLargedir |
		0x8000 /* inline_data */ | 0x10000 /* encrypt */ | 0x20000 /* casefold */

	roSparseSuper  = 0x1
	roGdtCsum      = 0x10
	roMetadataCsum = 0x400
)

// incompatNames names what is refused.
var incompatNames = []struct {
	bit  uint32
	name string
}{
	{incompatCompression, "compression"},
	{incompatJournalDev, "journal_dev (this is a journal, and no file system)"},
	{incompatDirdata, "dirdata"},
}

// super is the superblock.
type super struct {
	raw                   []byte
	compat, incompat, ro  uint32
	bs                    int64 // bytes of a block
	blocks, firstData     uint64
	perGroup              uint64 // blocks of a group
	groups                uint64
	inodes, inodesInGroup uint32
	inodeSize, descSize   int64
	csumSeed              uint32
}

const superAt, superLen = 1024, 1024

// readSuper reads and checks the superblock of a file system of at most size bytes.
func readSuper(r io.ReaderAt, size int64) (*super, error) {
	raw := make([]byte, superLen)
	if n, err := r.ReadAt(raw, superAt); n < superLen {
		return nil, fmt.Errorf("disk: ext4: superblock: %w", err)
	}
	if m := le.Uint16(raw[0x38:]); m != 0xEF53 {
		return nil, &CorruptError{"ext4", fmt.Sprintf("magic number %#x, want 0xef53", m)}
	}
	s := &super{raw: raw, inodeSize: 128, descSize: 32}
	if le.Uint32(raw[0x4C:]) > 0 { // revision
		s.compat, s.incompat, s.ro = le.Uint32(raw[0x5C:]), le.Uint32(raw[0x60:]), le.Uint32(raw[0x64:])
		s.inodeSize = int64(le.Uint16(raw[0x58:]))
	}
	if err := s.checkFeatures(); err != nil {
		return nil, err
	}
	if err := s.checkSum(); err != nil {
		return nil, err
	}
	s.readGeometry()
	return s, s.checkGeometry(size)
}

func (s *super) checkFeatures() error {
	odd := s.incompat &^ incompatRead
	if odd == 0 {
		return nil
	}
	for _, n := range incompatNames {
		if odd&n.bit != 0 {
			return &UnsupportedError{"ext4", n.name}
		}
	}
	return &UnsupportedError{"ext4", fmt.Sprintf("feature %#x", odd)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c goes on with a checksum as the kernel does: it inverts neither before
// nor after.
func crc32c(seed uint32, p []byte) uint32 { return ^crc32.Update(^seed, castagnoli, p) }

func (s *super) checkSum() error {
	s.csumSeed = crc32c(^uint32(0), s.raw[0x68:0x78])
	if s.incompat&incompatCsumSeed != 0 {
		s.csumSeed = le.Uint32(s.raw[0x270:])
	}
	if s.ro&roMetadataCsum == 0 {
		return nil
	}
	if got, want := crc32c(^uint32(0), s.raw[:0x3FC]), le.Uint32(s.raw[0x3FC:]); got != want {
		return &CorruptError{"ext4", fmt.Sprintf("superblock has checksum %#x, want %#x", got, want)}
	}
	return nil
}

func (s *super) readGeometry() {
	u32 := func(at int) uint32 { return le.Uint32(s.raw[at:]) }
	s.bs = 1024 << min(u32(0x18), 20)
	s.inodes, s.inodesInGroup = u32(0), u32(0x28)
	s.blocks, s.firstData, s.perGroup = uint64(u32(4)), uint64(u32(0x14)), uint64(u32(0x20))
	if s.incompat&incompat64Bit != 0 {
		s.blocks |= uint64(u32(0x150)) << 32
		s.descSize = int64(le.Uint16(s.raw[0xFE:]))
	}
}

func (s *super) checkGeometry(size int64) error {
	power2 := func(n int64) bool { return n > 0 && n&(n-1) == 0 }
	itable := uint64(s.inodesInGroup) * uint64(s.inodeSize)
	for _, must := range []struct {
		ok   bool
		what string
		got  any
	}{
		{s.bs <= 65536, "block size", s.bs},
		{s.inodeSize >= 128 && s.inodeSize <= s.bs && power2(s.inodeSize), "inode size", s.inodeSize},
		{s.descSize >= 32 && s.descSize <= s.bs && power2(s.descSize), "group descriptor size", s.descSize},
		{s.perGroup >= 256, "blocks in a group", s.perGroup},
		{s.inodesInGroup > 0 && int64(s.inodesInGroup) <= s.bs*8 && itable < s.perGroup*uint64(s.bs), "inodes in a group", s.inodesInGroup},
		{s.firstData <= 1 && s.blocks > s.firstData, "first block", s.firstData},
		{s.blocks <= uint64(size)/uint64(s.bs), fmt.Sprintf("number of blocks (of %d bytes, on a disk of %d)", s.bs, size), s.blocks},
	} {
		if !must.ok {
			return &CorruptError{"ext4", fmt.Sprintf("superblock: bad %s: %v", must.what, must.got)}
		}
	}
	s.groups = (s.blocks - s.firstData + s.perGroup - 1) / s.perGroup
	if want := s.groups * uint64(s.inodesInGroup); uint64(s.inodes) != want {
		return &CorruptError{"ext4", fmt.Sprintf("superblock: %d inodes, want %d", s.inodes, want)}
	}
	return nil
}

// hasSuper reports whether a group begins with a copy of the superblock.
func (s *super) hasSuper(g uint64) bool {
	switch {
	case g == 0:
		return true
	case s.compat&compatSparseSuper2 != 0:
		return g == uint64(le.Uint32(s.raw[0x24C:])) || g == uint64(le.Uint32(s.raw[0x250:]))
	case s.ro&roSparseSuper == 0 || g == 1:
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		n := base
		for n < g {
			n *= base
		}
		if n == g {
			return true
		}
	}
	return false
}

// descAt returns where group g's descriptor is, in bytes.
func (s *super) descAt(g uint64) int64 {
	per := uint64(s.bs / s.descSize)
	block := g / per
	in := int64(g%per) * s.descSize
	if s.incompat&incompatMetaBG == 0 || block < uint64(le.Uint32(s.raw[0x104:])) {
		return (superAt/s.bs+1+int64(block))*s.bs + in
	}
	first := block * per
	at := s.firstData + first*s.perGroup
	if s.hasSuper(first) {
		at++
	}
	// With blocks of 1 KiB the superblock is block 1, even where groups begin at 0.
	if first == 0 && s.bs == superAt && s.firstData == 0 {
		at++
	}
	return int64(at)*s.bs + in
}

// same reports whether two superblocks lay out inodes alike.
func (s *super) same(o *super) bool {
	geometry := func(s *super) [9]uint64 {
		return [9]uint64{uint64(s.bs), s.firstData, s.perGroup, s.groups, uint64(s.inodes), uint64(s.inodesInGroup),
			uint64(s.inodeSize), uint64(s.descSize), uint64(s.incompat &^ incompatRecover)}
	}
	return geometry(s) == geometry(o) && bytes.Equal(s.raw[0x104:0x108], o.raw[0x104:0x108])
}
