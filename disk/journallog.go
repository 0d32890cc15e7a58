package disk

// journalLog is what the whole transactions of a log say.
type journalLog struct {
	blocks  []entry
	revoked map[uint64]uint32 // the last transaction that revoked a block
	end     uint32            // the sequence number after the last whole transaction
}

// An entry says that a block of the log is a version of a block of the disk.
type entry struct {
	block    uint64 // of the disk
	at       uint64 // of the log
	sequence uint32 // of the transaction
	sum      uint32
	escaped  bool
}

// logScan reads a log from its start. What belongs to a transaction counts as
// soon as the transaction's commit block is found.
type logScan struct {
	*journal
	log     journalLog
	at      uint64 // block of the log
	left    uint64 // blocks that may still be read: the log ends where it began
	pending []entry
	revoked []uint64
	sum     uint32 // of the transaction's blocks, the oldest way
}

// scan reads the log until it ends: at a block that does not belong to it.
func (j *journal) scan() (*journalLog, error) {
	s := &logScan{journal: j, at: j.start, left: j.last - j.first, sum: ^uint32(0)}
	s.log.revoked = map[uint64]uint32{}
	s.log.end = j.sequence
	for s.left > 0 {
		b, err := j.read(s.at)
		if err != nil {
			return nil, err
		}
		if be.Uint32(b) != journalMagic || be.Uint32(b[8:]) != s.log.end {
			break
		}
		s.advance(1)
		more, err := s.record(b)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	return &s.log, nil
}

// advance goes n blocks on, and round the end.
func (s *logScan) advance(n uint64) {
	if s.at += n; s.at >= s.last {
		s.at -= s.last - s.first
	}
	s.left -= min(n, s.left)
}

// record understands a block of the log itself. A wrong checksum is where the
// log ends: it was not written to its end.
func (s *logScan) record(b []byte) (more bool, err error) {
	switch be.Uint32(b[4:]) {
	case jbdDescriptor:
		if !s.tailRight(b) {
			return false, nil
		}
		return s.descriptor(b)
	case jbdRevoke:
		if !s.tailRight(b) {
			return false, nil
		}
		return true, s.revokes(b)
	case jbdCommit:
		if !s.commitRight(b) {
			return false, nil
		}
		s.commit()
		return true, nil
	}
	return false, nil
}

// tailRight checks the checksum at the end of a descriptor or a revoke block.
func (s *logScan) tailRight(b []byte) bool {
	if !s.summed() {
		return true
	}
	n := len(b) - 4
	return crc32c(crc32c(s.seed, b[:n]), make([]byte, 4)) == be.Uint32(b[n:])
}

func (s *logScan) tagBytes() int {
	if s.incompat&jbdCsumV3 != 0 {
		return 16
	}
	n := 8
	if s.incompat&jbdCsumV2 != 0 {
		n += 2
	}
	if s.incompat&jbd64Bit != 0 {
		n += 4
	}
	return n
}

// descriptor reads the tags of the blocks that follow it, and passes over those.
func (s *logScan) descriptor(b []byte) (more bool, err error) {
	oldest := s.compat&jbdCompatChecksum != 0 && !s.summed()
	if oldest {
		s.sum = crc32BE(s.sum, b)
	}
	if s.summed() {
		b = b[:len(b)-4]
	}
	n := s.tagBytes()
	for at := 12; at+n <= len(b); {
		if s.left == 0 {
			return false, nil
		}
		e, flags := s.tag(b[at:])
		s.pending = append(s.pending, e)
		if oldest {
			data, err := s.read(s.at)
			if err != nil {
				return false, err
			}
			s.sum = crc32BE(s.sum, data)
		}
		s.advance(1)
		if flags&tagLast != 0 {
			break
		}
		if at += n; flags&tagSameUUID == 0 {
			at += 16
		}
	}
	return true, nil
}

// tag reads one tag, for the block of the log that s is at.
func (s *logScan) tag(b []byte) (entry, uint32) {
	e := entry{block: uint64(be.Uint32(b)), at: s.at, sequence: s.log.end}
	flags := uint32(be.Uint16(b[6:]))
	e.sum = uint32(be.Uint16(b[4:]))
	if s.incompat&jbdCsumV3 != 0 {
		flags, e.sum = be.Uint32(b[4:]), be.Uint32(b[12:])
	}
	if s.incompat&jbd64Bit != 0 {
		e.block |= uint64(be.Uint32(b[8:])) << 32
	}
	e.escaped = flags&tagEscaped != 0
	return e, flags
}

// revokes reads the blocks that must not be written by earlier transactions.
func (s *logScan) revokes(b []byte) error {
	size, end := 4, int(be.Uint32(b[12:]))
	if s.incompat&jbd64Bit != 0 {
		size = 8
	}
	limit := len(b)
	if s.summed() {
		limit -= 4
	}
	if end < 16 || end > limit {
		return s.fail("revoke block of %d bytes, want 16 to %d", end, limit)
	}
	for at := 16; at+size <= end; at += size {
		block := uint64(be.Uint32(b[at:]))
		if size == 8 {
			block = be.Uint64(b[at:])
		}
		s.revoked = append(s.revoked, block)
	}
	return nil
}

// commitRight checks a commit block's checksum: its own, or the one over all
// blocks of the transaction.
func (s *logScan) commitRight(b []byte) bool {
	if s.summed() {
		return crc32c(crc32c(crc32c(s.seed, b[:16]), make([]byte, 4)), b[20:]) == be.Uint32(b[16:])
	}
	if s.compat&jbdCompatChecksum == 0 {
		return true
	}
	kind, size, sum := b[12], b[13], be.Uint32(b[16:])
	if kind == 0 && size == 0 && sum == 0 {
		return true
	}
	return kind == 1 && size == 4 && sum == s.sum
}

// commit makes what was read since the last one count.
func (s *logScan) commit() {
	s.log.blocks = append(s.log.blocks, s.pending...)
	for _, block := range s.revoked {
		s.log.revoked[block] = s.log.end
	}
	s.pending, s.revoked = s.pending[:0], s.revoked[:0]
	s.log.end++
	s.sum = ^uint32(0)
}

// crc32BE goes on with a CRC-32 whose highest bit goes first, which the standard
// library does not have.
func crc32BE(crc uint32, p []byte) uint32 {
	for _, c := range p {
		crc = crc<<8 ^ crc32BETable[byte(crc>>24)^c]
	}
	return crc
}

var crc32BETable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()
