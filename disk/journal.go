package disk

import (
	"fmt"
	"sort"
)

// The journal's format is JBD2's (Linux, fs/jbd2); all numbers are big-endian.
const (
	journalMagic = 0xC03B3998

	jbdDescriptor = 1
	jbdCommit     = 2
	jbdSuperV1    = 3
	jbdSuperV2    = 4
	jbdRevoke     = 5

	jbdCompatChecksum = 0x1

	jbdRevokes     = 0x1
	jbd64Bit       = 0x2
	jbdAsyncCommit = 0x4
	jbdCsumV2      = 0x8
	jbdCsumV3      = 0x10
	jbdFastCommit  = 0x20
	jbdKnown       = 0x3F

	minLog = 1024 // blocks: a journal that has fewer leaves fast commits none

	tagEscaped  = 1
	tagSameUUID = 2
	tagLast     = 8
)

// journal is a log of blocks that may not be in their places yet.
type journal struct {
	fs               *Ext4
	runs             []run // of the journal's inode
	first, last      uint64
	fast             uint64 // where fast commits are; 0 if nowhere
	sequence         uint32 // of the first transaction
	start            uint64 // block of the log where it begins
	compat, incompat uint32
	seed             uint32
}

// replay reads the journal and returns where the newer versions of blocks are;
// nil if there are none.
func (fs *Ext4) replay() (map[uint64]logged, error) {
	j, err := fs.openJournal()
	if err != nil || j == nil || j.start == 0 {
		return nil, err
	}
	log, err := j.scan()
	if err != nil {
		return nil, err
	}
	if err := j.checkFastCommit(log.end); err != nil {
		return nil, err
	}
	return j.newest(log)
}

// openJournal opens the journal; nil if there is none.
func (fs *Ext4) openJournal() (*journal, error) {
	if fs.super.compat&compatHasJournal == 0 {
		return nil, nil
	}
	n := le.Uint32(fs.super.raw[0xE0:])
	if n == 0 {
		return nil, &UnsupportedError{"ext4", "an external journal that is to be replayed"}
	}
	i, err := fs.Inode(n)
	if err != nil {
		return nil, err
	}
	f, err := fs.OpenInode(i)
	if err != nil {
		return nil, err
	}
	j := &journal{fs: fs, runs: f.runs}
	return j, j.readSuper()
}

// fail words damage of the journal.
func (j *journal) fail(format string, args ...any) error {
	return &CorruptError{"ext4: journal", fmt.Sprintf(format, args...)}
}

// where returns the block of the disk that holds block n of the log.
func (j *journal) where(n uint64) (uint64, error) {
	k := sort.Search(len(j.runs), func(k int) bool { return j.runs[k].at+j.runs[k].n > n })
	if k == len(j.runs) || n < j.runs[k].at {
		return 0, j.fail("block %d is a hole", n)
	}
	return j.runs[k].block + n - j.runs[k].at, nil
}

// read returns block n of the log, in a buffer of its own.
func (j *journal) read(n uint64) ([]byte, error) {
	at, err := j.where(n)
	if err != nil {
		return nil, err
	}
	b := make([]byte, j.fs.bs)
	return b, j.fs.readAt(b, int64(at)*j.fs.bs)
}

func (j *journal) readSuper() error {
	b, err := j.read(0)
	if err != nil {
		return err
	}
	kind := be.Uint32(b[4:])
	if m := be.Uint32(b); m != journalMagic || kind != jbdSuperV1 && kind != jbdSuperV2 {
		return j.fail("superblock: magic number %#x, type %d", m, kind)
	}
	if bs := be.Uint32(b[0xC:]); int64(bs) != j.fs.bs {
		return j.fail("blocks of %d bytes, want %d", bs, j.fs.bs)
	}
	j.last, j.first = uint64(be.Uint32(b[0x10:])), uint64(be.Uint32(b[0x14:]))
	j.sequence, j.start = be.Uint32(b[0x18:]), uint64(be.Uint32(b[0x1C:]))
	if kind == jbdSuperV2 {
		if err := j.readFeatures(b); err != nil {
			return err
		}
	}
	if j.first == 0 || j.last <= j.first || j.start != 0 && (j.start < j.first || j.start >= j.last) {
		return j.fail("log from block %d to %d, begun at %d", j.first, j.last, j.start)
	}
	return nil
}

func (j *journal) readFeatures(b []byte) error {
	j.compat, j.incompat = be.Uint32(b[0x24:]), be.Uint32(b[0x28:])
	if odd := j.incompat &^ jbdKnown; odd != 0 {
		return &UnsupportedError{"ext4: journal", fmt.Sprintf("feature %#x", odd)}
	}
	if j.summed() {
		sum := crc32c(crc32c(crc32c(^uint32(0), b[:0xFC]), make([]byte, 4)), b[0x100:0x400])
		if want := be.Uint32(b[0xFC:]); sum != want {
			return j.fail("superblock has checksum %#x, want %#x", sum, want)
		}
	}
	j.seed = crc32c(^uint32(0), b[0x30:0x40])
	if j.incompat&jbdFastCommit != 0 {
		n := uint64(be.Uint32(b[0x54:]))
		if n == 0 {
			n = 256
		}
		if j.last >= n+minLog {
			j.last -= n
			j.fast = j.last + 1
		}
	}
	return nil
}

// summed reports whether all blocks of the log have checksums.
func (j *journal) summed() bool { return j.incompat&(jbdCsumV2|jbdCsumV3) != 0 }

// checkFastCommit refuses a log that goes on, after the transaction before end,
// in the area of fast commits.
func (j *journal) checkFastCommit(end uint32) error {
	if j.fast == 0 {
		return nil
	}
	b, err := j.read(j.fast)
	if err != nil {
		return err
	}
	const head = 0x9
	if le.Uint16(b) == head && le.Uint32(b[8:]) == end {
		return &UnsupportedError{"ext4", "a fast_commit that is to be replayed"}
	}
	return nil
}

// newest returns, for each block, the last version that is not revoked.
func (j *journal) newest(log *journalLog) (map[uint64]logged, error) {
	moved := map[uint64]logged{}
	for _, e := range log.blocks {
		if at, revoked := log.revoked[e.block]; revoked && int32(at-e.sequence) >= 0 {
			continue
		}
		if e.block >= j.fs.count {
			return nil, j.fail("holds block %d, want less than %d", e.block, j.fs.count)
		}
		at, err := j.verify(e)
		if err != nil {
			return nil, err
		}
		moved[e.block] = logged{at, e.escaped}
	}
	return moved, nil
}

// verify checks a logged block's checksum and returns where it is on the disk.
func (j *journal) verify(e entry) (uint64, error) {
	at, err := j.where(e.at)
	if err != nil || !j.summed() {
		return at, err
	}
	b, err := j.read(e.at)
	if err != nil {
		return 0, err
	}
	sum := crc32c(crc32c(j.seed, be.AppendUint32(nil, e.sequence)), b)
	if j.incompat&jbdCsumV3 == 0 {
		sum &= 0xFFFF
	}
	if sum != e.sum {
		return 0, j.fail("block %d, for block %d: checksum %#x, want %#x", e.at, e.block, sum, e.sum)
	}
	return at, nil
}
