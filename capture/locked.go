package capture

import (
	"slices"
	"strings"

	"assay"
	"assay/disk"
)

// locked is the attribute of a file that not even root may change, short of taking
// the flag away. Only a host that reads the disk knows it.
const locked = "locked"

// lockOf words an inode's flags that lock it; empty for none.
func lockOf(i *disk.Inode) string {
	var words []string
	if i.Flags&disk.FlagImmutable != 0 {
		words = append(words, "immutable")
	}
	if i.Flags&disk.FlagAppend != 0 {
		words = append(words, "append-only")
	}
	return strings.Join(words, ", ")
}

// untoldLocks takes what only one of two captures could know out of a change, and
// reports whether nothing is left of it.
func untoldLocks(c *assay.Change, before, after Capture) bool {
	if c.Op != assay.Modified || before.Witness == after.Witness {
		return false
	}
	c.Fields = slices.DeleteFunc(c.Fields, func(f string) bool { return f == locked })
	return len(c.Fields) == 0
}
