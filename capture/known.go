package capture

import (
	"encoding/binary"
	"math/bits"
	"strconv"
)

// prints are the fingerprints of known files, and which of them were seen again.
// A fingerprint is a keyed 64-bit hash of a path and of all that its inode says.
type prints struct {
	key   [2]uint64
	index map[uint64]int32
	seen  []byte // one bit for each known file
}

func newPrints(known []Record, key [2]uint64) *prints {
	p := &prints{key: key, index: make(map[uint64]int32, len(known)), seen: make([]byte, (len(known)+7)/8)}
	for i, r := range known {
		p.index[p.ofRecord(r)] = int32(i)
	}
	return p
}

// has reports whether a file is known as it is now, and marks it as seen. Each
// bit is written by the one worker that meets the file, but neighbours share a
// byte: the caller holds a lock.
func (p *prints) has(print uint64) bool {
	i, ok := p.index[print]
	if ok {
		p.seen[i/8] |= 1 << (i % 8)
	}
	return ok
}

// unchanged returns the known records that were seen again.
func (p *prints) unchanged(known []Record) []Record {
	if p == nil {
		return nil
	}
	var out []Record
	for i, r := range known {
		if p.seen[i/8]&(1<<(i%8)) != 0 {
			out = append(out, r)
		}
	}
	return out
}

func (p *prints) ofRecord(r Record) uint64 {
	a := r.Attrs
	n := func(name string) uint64 {
		v, _ := strconv.ParseUint(a[name], 10, 64)
		return v
	}
	mode, _ := strconv.ParseUint(a["mode"], 8, 32)
	mtime, _ := strconv.ParseInt(a["mtime"], 10, 64)
	ctime, _ := strconv.ParseInt(a["ctime"], 10, 64)
	s := Stat{Mode: uint32(mode) | typeBits(a["type"]), UID: uint32(n("uid")), GID: uint32(n("gid")), Size: int64(n("size")), Ino: n("ino"), Mtime: mtime, Ctime: ctime}
	return p.of(r.Key, s, a["owner"], a["group"])
}

// of hashes a file's path, its inode's words and the names of its owners; a
// folder's size says nothing and is left out.
func (p *prints) of(path string, s Stat, owner, group string) uint64 {
	size := uint64(s.Size)
	if s.Mode&typeMask != typeFile {
		size = 0
	}
	h := newSip(p.key)
	h.text(path)
	h.text(owner)
	h.text(group)
	for _, w := range [...]uint64{uint64(s.Mode), uint64(s.UID)<<32 | uint64(s.GID), size, s.Ino, uint64(s.Mtime), uint64(s.Ctime)} {
		h.word(w)
	}
	return h.sum()
}

// sip is SipHash-2-4 over 64-bit words: keyed, so that nobody who does not know
// the key can make two files look the same, and cheap without special instructions.
type sip struct{ v0, v1, v2, v3 uint64 }

func newSip(key [2]uint64) sip {
	return sip{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573}
}

func (s *sip) round() {
	s.v0 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 13) ^ s.v0
	s.v0 = bits.RotateLeft64(s.v0, 32)
	s.v2 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 16) ^ s.v2
	s.v0 += s.v3
	s.v3 = bits.RotateLeft64(s.v3, 21) ^ s.v0
	s.v2 += s.v1
	s.v1 = bits.RotateLeft64(s.v1, 17) ^ s.v2
	s.v2 = bits.RotateLeft64(s.v2, 32)
}

func (s *sip) word(w uint64) {
	s.v3 ^= w
	s.round()
	s.round()
	s.v0 ^= w
}

// text adds a string and its length, so that no two lists of strings look alike.
func (s *sip) text(t string) {
	s.word(uint64(len(t)))
	for len(t) >= 8 {
		s.word(binary.LittleEndian.Uint64([]byte(t[:8])))
		t = t[8:]
	}
	var last [8]byte
	copy(last[:], t)
	s.word(binary.LittleEndian.Uint64(last[:]))
}

func (s *sip) sum() uint64 {
	s.v2 ^= 0xff
	for range 4 {
		s.round()
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}
