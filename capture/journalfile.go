package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on what a journal's file may make its reader do.
const (
	maxEntries    = 10_000   // newest entries of one level that are read
	maxReferences = 1 << 18  // entries of one array
	maxChain      = 4096     // objects that hang in one chain
	maxItems      = 256      // fields of one entry
	maxObject     = 64 << 10 // bytes of an entry, or of a field's value that are read
	journalBlock  = 16 << 10 // bytes that are read at once
	maxBlocks     = 256      // that are kept
	maxJournal    = 64 << 20 // bytes of a file that can only be read from its beginning
)

// journalFile reads one of journald's files, which journald may be writing: an
// object is complete before anything refers to it. The format is documented at
// systemd.io/JOURNAL_FILE_FORMAT.
type journalFile struct {
	r       io.ReaderAt
	blocks  map[int64][]byte
	boot    [16]byte // of whoever wrote last
	fields  uint64   // offset and size of the fields' hash table
	width   uint64   // its bytes
	compact bool
	memo    map[uint64][2]string // what data objects say
}

// The flags of a file that a reader must understand, and of an object.
const (
	journalXZ, journalLZ4, journalKeyed, journalZSTD, journalCompact = 1, 2, 4, 8, 16

	objectXZ, objectLZ4, objectZSTD = 1, 2, 4
)

// The types of object.
const (
	objectData, objectField, objectEntry, objectArray = 1, 2, 3, 6
)

// openJournal reads the header of a journal's file.
func openJournal(r io.ReaderAt) (*journalFile, error) {
	f := &journalFile{r: r, blocks: map[int64][]byte{}, memo: map[uint64][2]string{}}
	h, err := f.read(0, 208)
	if err != nil {
		return nil, err
	}
	if string(h[:8]) != "LPKSHHRH" {
		return nil, errors.New("not a journal")
	}
	flags := le32(h[12:])
	if unknown := flags &^ (journalXZ | journalLZ4 | journalKeyed | journalZSTD | journalCompact); unknown != 0 {
		return nil, fmt.Errorf("a journal of a newer format: flags %#x: %w", unknown, errors.ErrUnsupported)
	}
	f.compact = flags&journalCompact != 0
	f.boot = [16]byte(h[56:])
	f.fields, f.width = le64(h[120:]), le64(h[128:])
	return f, nil
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// errJournalShort is what reading past the end of a file gives.
var errJournalShort = errors.New("a value lies past the file's end")

// read returns n bytes at an offset, good until the next read.
func (f *journalFile) read(at uint64, n int) ([]byte, error) {
	if at > 1<<40 {
		return nil, errJournalShort
	}
	block := int64(at) / journalBlock
	from := int(int64(at) % journalBlock)
	b, err := f.block(block)
	if err == nil && from+n <= len(b) {
		return b[from : from+n], nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	if got, _ := f.r.ReadAt(buf, int64(at)); got < n {
		return nil, errJournalShort
	}
	return buf, nil
}

// block returns a piece of the file, which is shorter at its end.
func (f *journalFile) block(number int64) ([]byte, error) {
	if b, ok := f.blocks[number]; ok {
		return b, nil
	}
	if len(f.blocks) >= maxBlocks {
		clear(f.blocks)
	}
	buf := make([]byte, journalBlock)
	n, err := f.r.ReadAt(buf, number*journalBlock)
	if n == 0 && err != nil && err != io.EOF {
		return nil, err
	}
	f.blocks[number] = buf[:n]
	return buf[:n], nil
}

// forget has everything read anew.
func (f *journalFile) forget() { clear(f.blocks) }

// object returns the first n bytes, or fewer if it has fewer, of the object at an
// offset, its size, and its flags.
func (f *journalFile) object(at uint64, kind byte, n int) (b []byte, size uint64, flags byte, err error) {
	b, size, flags, err = f.tryObject(at, kind, n)
	if err != nil && len(f.blocks) > 0 {
		f.forget() // what was kept may be older than what refers to the object
		b, size, flags, err = f.tryObject(at, kind, n)
	}
	return b, size, flags, err
}

func (f *journalFile) tryObject(at uint64, kind byte, n int) (b []byte, size uint64, flags byte, err error) {
	if at == 0 || at%8 != 0 {
		return nil, 0, 0, fmt.Errorf("no object can be at %d", at)
	}
	h, err := f.read(at, 16)
	if err != nil {
		return nil, 0, 0, err
	}
	size, flags = le64(h[8:]), h[1]
	if h[0] != kind || size < 16 {
		return nil, 0, 0, fmt.Errorf("object at %d: got type %d of %d bytes, want type %d", at, h[0], size, kind)
	}
	b, err = f.read(at, int(min(size, uint64(n))))
	return b, size, flags, err
}

// values returns the data objects of a field: each is one of its values. The
// field's name is found in the table of fields, whose chains are short.
func (f *journalFile) values(field string) ([]uint64, error) {
	table, err := f.read(f.fields, int(min(f.width, maxObject)))
	if err != nil {
		return nil, err
	}
	heads := make([]uint64, 0, len(table)/16)
	for ; len(table) >= 16; table = table[16:] {
		if at := le64(table); at != 0 {
			heads = append(heads, at)
		}
	}
	steps := 0
	for _, at := range heads {
		for ; at != 0 && steps < maxChain; steps++ {
			b, size, _, err := f.object(at, objectField, 40+len(field)+1)
			if err != nil || len(b) < 40 {
				return nil, err
			}
			if size == uint64(40+len(field)) && string(b[40:]) == field {
				return f.chain(le64(b[32:]))
			}
			at = le64(b[24:])
		}
	}
	return nil, nil
}

// chain returns the data objects of one field, beginning with the first.
func (f *journalFile) chain(at uint64) ([]uint64, error) {
	var found []uint64
	for at != 0 && len(found) < maxChain {
		b, _, _, err := f.object(at, objectData, 64)
		if err != nil || len(b) < 64 {
			return found, err
		}
		found = append(found, at)
		at = le64(b[32:])
	}
	return found, nil
}

// payload is where the value begins in a data object.
func (f *journalFile) payload() int {
	if f.compact {
		return 72
	}
	return 64
}

// value returns a data object's field and value, which is cut past maxObject.
func (f *journalFile) value(at uint64) (field, value string, err error) {
	if v, ok := f.memo[at]; ok {
		return v[0], v[1], nil
	}
	b, _, flags, err := f.object(at, objectData, f.payload()+maxObject)
	if err != nil {
		return "", "", err
	}
	if len(b) < f.payload() {
		return "", "", fmt.Errorf("object at %d: only %d bytes", at, len(b))
	}
	data, err := unpack(b[f.payload():], flags)
	if err != nil {
		return "", "", fmt.Errorf("object at %d: %w", at, err)
	}
	field, value, _ = strings.Cut(string(data), "=")
	if len(f.memo) < maxChain {
		f.memo[at] = [2]string{field, value}
	}
	return field, value, nil
}

// references returns where the newest entries are that have a data object, oldest
// first.
func (f *journalFile) references(data uint64) ([]uint64, error) {
	b, _, _, err := f.object(data, objectData, 64)
	if err != nil || len(b) < 64 {
		return nil, err
	}
	first, array, left := le64(b[40:]), le64(b[48:]), le64(b[56:])
	if left == 0 || first == 0 {
		return nil, nil
	}
	found := []uint64{first}
	left--
	for steps := 0; array != 0 && left > 0 && steps < maxChain; steps++ {
		var items []uint64
		if array, items, err = f.array(array, left); err != nil {
			return found, err
		}
		left -= uint64(len(items))
		found = append(found, items...)
		found = found[max(0, len(found)-maxEntries):]
	}
	return found, nil
}

// array reads at most n offsets of an array of entries, and where the next is.
func (f *journalFile) array(at, n uint64) (next uint64, items []uint64, err error) {
	width := uint64(8)
	if f.compact {
		width = 4
	}
	b, _, _, err := f.object(at, objectArray, int(24+min(n, maxReferences)*width))
	if err != nil || len(b) < 24 {
		return 0, nil, err
	}
	next = le64(b[16:])
	for b = b[24:]; uint64(len(b)) >= width; b = b[width:] {
		at := f.offset(b)
		if at == 0 {
			break // room for entries to come
		}
		items = append(items, at)
	}
	return next, items, nil
}

// offset reads the place of an object.
func (f *journalFile) offset(b []byte) uint64 {
	if f.compact {
		return uint64(le32(b))
	}
	return le64(b)
}

// journalEntry is one line of the journal.
type journalEntry struct {
	at        uint64
	monotonic uint64 // microseconds since boot
	boot      [16]byte
}

// head reads when an entry was written.
func (f *journalFile) head(at uint64) (journalEntry, error) {
	b, _, _, err := f.object(at, objectEntry, 64)
	if err == nil && len(b) < 64 {
		err = fmt.Errorf("object at %d: only %d bytes", at, len(b))
	}
	if err != nil {
		return journalEntry{}, err
	}
	return journalEntry{at: at, monotonic: le64(b[32:]), boot: [16]byte(b[40:])}, nil
}

// items returns an entry's data objects.
func (f *journalFile) items(at uint64) ([]uint64, error) {
	width := 16
	if f.compact {
		width = 4
	}
	b, _, _, err := f.object(at, objectEntry, 64+maxItems*width)
	if err != nil {
		return nil, err
	}
	var found []uint64
	for b = b[min(64, len(b)):]; len(b) >= width; b = b[width:] {
		found = append(found, f.offset(b))
	}
	return found, nil
}
