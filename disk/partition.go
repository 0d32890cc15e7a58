package disk

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// A Partition is a range of a disk, and what it holds.
type Partition struct {
	Number int    // as the guest's kernel counts: 1, 2 …, logical ones from 5 on; 0 is a disk without a table
	Offset int64  // bytes
	Size   int64  // bytes
	Type   string // by content: ext2 ext3 ext4 jbd xfs btrfs f2fs erofs squashfs iso9660 vfat exfat ntfs swap luks lvm raid bcache bitlocker; "" if unknown
	UUID   string // of the content; "" if it has none
	Label  string // of the content; it may hold any bytes
}

const (
	sector        = 512
	maxPartitions = 256
)

// Partitions lists a disk's partitions by number.
func (d *Disk) Partitions() ([]Partition, error) { return Partitions(d, d.Size()) }

// Partitions lists the partitions of a disk of size bytes by number: those of a
// GUID table, or of its copy at the disk's end if it is damaged, or those of an
// MBR. A disk without a table is one partition of number 0. A table that is
// there but contradicts itself is a *CorruptError.
func Partitions(r io.ReaderAt, size int64) ([]Partition, error) {
	parts, err := table(r, size)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		parts = []Partition{{Size: size}}
	}
	slices.SortStableFunc(parts, func(a, b Partition) int { return cmp.Compare(a.Number, b.Number) })
	for k := range parts {
		if err := parts[k].probe(r); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// table reads the partition table; nil if there is none.
func table(r io.ReaderAt, size int64) ([]Partition, error) {
	boot := make([]byte, sector)
	if err := readOrZero(r, boot, 0); err != nil {
		return nil, err
	}
	entries, ok := mbrEntries(boot)
	if !ok || fatBoot(boot) {
		return nil, nil
	}
	for _, e := range entries {
		if e.kind == mbrProtective {
			return gpt(r, size)
		}
	}
	return mbr(r, size, entries)
}

// fatBoot reports whether a boot sector is that of a FAT or NTFS file system,
// which ends like a table does.
func fatBoot(b []byte) bool {
	jump := b[0] == 0xEB && b[2] == 0x90 || b[0] == 0xE9
	power2 := func(n uint16) bool { return n != 0 && n&(n-1) == 0 }
	return jump && power2(le.Uint16(b[11:])) && power2(uint16(b[13])) && (text(b[0x36:0x39]) == "FAT" || text(b[0x52:0x55]) == "FAT" || text(b[3:7]) == "NTFS" || text(b[3:8]) == "EXFAT")
}

func tableFail(format string, args ...any) error {
	return &CorruptError{"partition table", fmt.Sprintf(format, args...)}
}

// gpt reads the GUID table, for sectors of 512 and of 4096 bytes.
func gpt(r io.ReaderAt, size int64) ([]Partition, error) {
	var errs []error
	for _, bytes := range []int64{sector, 4096} {
		for _, at := range []int64{bytes, size - size%bytes - bytes} {
			parts, err := gptAt(r, size, at, bytes)
			if err == nil {
				return parts, nil
			}
			errs = append(errs, err)
		}
	}
	// Any of the four says what is wrong; the main one for usual sectors says it best.
	return nil, errs[0]
}

// gptAt reads the table whose header is at an offset, for sectors of that many bytes.
func gptAt(r io.ReaderAt, size, at, bytes int64) ([]Partition, error) {
	h := make([]byte, bytes)
	if err := readOrZero(r, h, at); at < 0 || err != nil {
		return nil, tableFail("no header at %d: %v", at, err)
	}
	n := le.Uint32(h[12:])
	if text(h[:8]) != "EFI PART" || n < 92 || int64(n) > bytes || le.Uint64(h[24:]) != uint64(at/bytes) {
		return nil, tableFail("no GUID header at %d", at)
	}
	if sum := headerSum(h[:n]); sum != le.Uint32(h[16:]) {
		return nil, tableFail("GUID header at %d has checksum %#x, want %#x", at, sum, le.Uint32(h[16:]))
	}
	count, length := le.Uint32(h[80:]), le.Uint32(h[84:])
	if length < 128 || length > 4096 || length%8 != 0 || count > 4096 {
		return nil, tableFail("GUID table of %d entries of %d bytes", count, length)
	}
	first := le.Uint64(h[72:])
	b := make([]byte, count*length)
	if first > uint64(size/bytes) {
		return nil, tableFail("GUID table at block %d of %d", first, size/bytes)
	}
	if err := readOrZero(r, b, int64(first)*bytes); err != nil {
		return nil, err
	}
	if sum := crc32.ChecksumIEEE(b); sum != le.Uint32(h[88:]) {
		return nil, tableFail("GUID table at block %d has checksum %#x, want %#x", first, sum, le.Uint32(h[88:]))
	}
	return gptEntries(b, int(length), size, bytes)
}

// headerSum is a GUID header's checksum, for which its own field is zero.
func headerSum(h []byte) uint32 {
	c := slices.Clone(h)
	clear(c[16:20])
	return crc32.ChecksumIEEE(c)
}

func gptEntries(b []byte, length int, size, bytes int64) ([]Partition, error) {
	out := []Partition{}
	for k := 0; k*length < len(b); k++ {
		e := b[k*length : (k+1)*length]
		if [16]byte(e) == ([16]byte{}) {
			continue
		}
		first, last := le.Uint64(e[32:]), le.Uint64(e[40:])
		if first > last || last >= uint64(size/bytes) {
			return nil, tableFail("partition %d: blocks %d to %d of %d", k+1, first, last, size/bytes)
		}
		if len(out) == maxPartitions {
			return nil, tableFail("more than %d partitions", maxPartitions)
		}
		out = append(out, Partition{Number: k + 1, Offset: int64(first) * bytes, Size: int64(last-first+1) * bytes})
	}
	return out, nil
}

const mbrProtective = 0xEE

// An mbrEntry is one of four in a boot record.
type mbrEntry struct {
	kind        byte
	first, size int64 // sectors
}

// extended reports whether the entry holds logical partitions.
func (e mbrEntry) extended() bool { return e.kind == 5 || e.kind == 0xF || e.kind == 0x85 }

// mbrEntries reads a boot record's entries; false if it has no table.
func mbrEntries(b []byte) (out [4]mbrEntry, ok bool) {
	if le.Uint16(b[510:]) != 0xAA55 {
		return out, false
	}
	used := false
	for k := range out {
		e := b[446+k*16 : 462+k*16]
		// A flag that is neither 0 nor 0x80 is boot code, and no entry.
		if e[0]&0x7F != 0 {
			return out, false
		}
		out[k] = mbrEntry{e[4], int64(le.Uint32(e[8:])), int64(le.Uint32(e[12:]))}
		used = used || e[4] != 0 && out[k].size != 0
	}
	return out, used
}

// mbr lists the partitions of a boot record, and those in its extended ones.
func mbr(r io.ReaderAt, size int64, entries [4]mbrEntry) ([]Partition, error) {
	out := []Partition{}
	for k, e := range entries {
		if e.kind == 0 || e.size == 0 {
			continue
		}
		p, err := e.partition(k+1, 0, size)
		if err != nil {
			return nil, err
		}
		if !e.extended() {
			out = append(out, p)
			continue
		}
		logical, err := logical(r, size, e)
		if err != nil {
			return nil, err
		}
		for _, p := range logical {
			p.Number = 5 + countLogical(out)
			out = append(out, p)
		}
	}
	return out, nil
}

func countLogical(parts []Partition) (n int) {
	for _, p := range parts {
		if p.Number >= 5 {
			n++
		}
	}
	return n
}

// partition places an entry whose sectors count from base. What reaches past the
// disk's end is cut, as a kernel cuts it.
func (e mbrEntry) partition(number int, base, size int64) (Partition, error) {
	off := (base + e.first) * sector
	if off >= size {
		return Partition{}, tableFail("partition %d begins at byte %d of %d", number, off, size)
	}
	return Partition{Number: number, Offset: off, Size: min(e.size*sector, size-off)}, nil
}

// logical lists the partitions in an extended one: a list of boot records, each
// with one partition, and the next record. Its numbers are not set.
func logical(r io.ReaderAt, size int64, ext mbrEntry) ([]Partition, error) {
	var out []Partition
	b := make([]byte, sector)
	for at, n := ext.first, 0; ; n++ {
		if n == maxPartitions {
			return nil, tableFail("more than %d logical partitions", maxPartitions)
		}
		if err := readOrZero(r, b, at*sector); err != nil {
			return nil, err
		}
		entries, ok := mbrEntries(b)
		if !ok {
			return out, nil
		}
		next := int64(0)
		for _, e := range entries[:2] {
			switch {
			case e.kind == 0 || e.size == 0:
			case e.extended():
				next = ext.first + e.first
			default:
				p, err := e.partition(5+len(out), at, size)
				if err != nil {
					return nil, err
				}
				out = append(out, p)
			}
		}
		if next == 0 {
			return out, nil
		}
		at = next
	}
}
