package disk

import (
	"bytes"
	"fmt"
	"io"
)

// signature is how a kind of content is told: bytes at an offset.
type signature struct {
	kind  string
	at    int64
	magic string
	// name returns the UUID and the label out of the content's start; nil if
	// nobody asks for them.
	name func(head []byte) (uuid, label string)
}

// headLen is the bytes at a partition's start that signatures are looked for in.
const headLen = 0x11000

// signatures are tried in order: those of what wraps other content first.
var signatures = []signature{
	{"luks", 0, "LUKS\xba\xbe", func(h []byte) (string, string) { return text(h[0xA8:0xD0]), "" }},
	{"lvm", 0x218, "LVM2 001", func(h []byte) (string, string) { return lvmUUID(text(h[0x220:0x240])), "" }},
	{"lvm", 0x018, "LVM2 001", func(h []byte) (string, string) { return lvmUUID(text(h[0x020:0x040])), "" }},
	{"raid", 0x1000, "\xfc\x4e\x2b\xa9", nil},
	{"raid", 0, "\xfc\x4e\x2b\xa9", nil},
	{"bitlocker", 3, "-FVE-FS-", nil},
	{"bcache", 0x1018, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", nil},
	{"xfs", 0, "XFSB", func(h []byte) (string, string) { return uuid(h[0x20:]), text(h[0x6C:0x78]) }},
	{"btrfs", 0x10040, "_BHRfS_M", func(h []byte) (string, string) { return uuid(h[0x10020:]), text(h[0x1012B:0x1022B]) }},
	{"f2fs", 0x400, "\x10\x20\xf5\xf2", func(h []byte) (string, string) { return uuid(h[0x46C:]), "" }},
	{"erofs", 0x400, "\xe2\xe1\xf5\xe0", func(h []byte) (string, string) { return uuid(h[0x430:]), text(h[0x440:0x450]) }},
	{"squashfs", 0, "hsqs", nil},
	{"iso9660", 0x8001, "CD001", func(h []byte) (string, string) { return "", text(h[0x8028:0x8048]) }},
	{"swap", 0xFF6, "SWAPSPACE2", func(h []byte) (string, string) { return uuid(h[0x40C:]), text(h[0x41C:0x42C]) }},
	{"swap", 0xFFF6, "SWAPSPACE2", func(h []byte) (string, string) { return uuid(h[0x40C:]), text(h[0x41C:0x42C]) }},
	{"exfat", 3, "EXFAT   ", nil},
	{"ntfs", 3, "NTFS    ", func(h []byte) (string, string) { return fmt.Sprintf("%016X", le.Uint64(h[0x48:])), "" }},
	{"vfat", 0x52, "FAT32   ", func(h []byte) (string, string) { return fatID(h[0x43:]), text(h[0x47:0x52]) }},
	{"vfat", 0x36, "FAT16   ", func(h []byte) (string, string) { return fatID(h[0x27:]), text(h[0x2B:0x36]) }},
	{"vfat", 0x36, "FAT12   ", func(h []byte) (string, string) { return fatID(h[0x27:]), text(h[0x2B:0x36]) }},
	{"ext", 0x438, "\x53\xef", func(h []byte) (string, string) { return uuid(h[0x468:]), text(h[0x478:0x488]) }},
}

// probe says what p holds. It reads p's start only.
func (p *Partition) probe(r io.ReaderAt) error {
	head := make([]byte, headLen)
	if err := readOrZero(r, head[:min(headLen, p.Size)], p.Offset); err != nil {
		return err
	}
	for _, s := range signatures {
		if !bytes.HasPrefix(head[s.at:], []byte(s.magic)) {
			continue
		}
		p.Type = s.kind
		if s.kind == "ext" {
			p.Type = extKind(head[superAt:])
		}
		if s.name != nil {
			p.UUID, p.Label = s.name(head)
		}
		return nil
	}
	return nil
}

// extKind tells ext2, ext3 and ext4 apart by their features, as blkid does.
func extKind(s []byte) string {
	compat, incompat, ro := le.Uint32(s[0x5C:]), le.Uint32(s[0x60:]), le.Uint32(s[0x64:])
	switch {
	case le.Uint32(s[0x4C:]) == 0:
		return "ext2"
	case incompat&incompatJournalDev != 0:
		return "jbd"
	case incompat&^(incompatFiletype|incompatRecover|incompatMetaBG) != 0 || ro&^0x7 != 0:
		return "ext4"
	case compat&compatHasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// text returns a padded field.
func text(b []byte) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(bytes.TrimRight(b, " "))
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

func fatID(b []byte) string { return fmt.Sprintf("%04X-%04X", le.Uint16(b[2:]), le.Uint16(b)) }

// lvmUUID puts the dashes into a physical volume's UUID.
func lvmUUID(s string) string {
	if len(s) != 32 {
		return s
	}
	return s[:6] + "-" + s[6:10] + "-" + s[10:14] + "-" + s[14:18] + "-" + s[18:22] + "-" + s[22:26] + "-" + s[26:]
}
