package disk

import (
	"bytes"
	"testing"
)

// Reading a file changes its entry, but not what it is; anything else does.
func TestAlike(t *testing.T) {
	for _, size := range []int{128, 256} {
		old := bytes.Repeat([]byte{0}, size)
		if size > 128 {
			old[128] = 32 // bytes of fields behind the first 128
		}
		for at := range size {
			now := bytes.Clone(old)
			now[at] ^= 0x55
			read := at >= 8 && at < 12 || at >= 0x7C && at < 0x7E || at >= 0x82 && at < 0x84 || at >= 0x8C && at < 0x90
			if got := alike(&Inode{raw: old}, &Inode{raw: now}); got != read {
				t.Errorf("entries of %d bytes that differ in byte %#x: alike %v, want %v", size, at, got, read)
			}
		}
		if alike(&Inode{raw: old}, &Inode{raw: old, Damaged: true}) {
			t.Error("a wrong checksum is no difference")
		}
	}
}
