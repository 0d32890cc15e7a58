package images

import (
	"fmt"
	"io"
)

// cpioWriter writes an archive in the "newc" form, which is what Linux unpacks
// as an initial RAM file system. Owners are root and times zero.
type cpioWriter struct {
	w   io.Writer
	ino int
	err error
}

// File modes of an archive's entries, type included.
const (
	cpioDir  = 0o040755
	cpioFile = 0o100644
	cpioExec = 0o100755
)

// add writes one entry; parents come first. Errors are kept for close.
func (c *cpioWriter) add(name string, mode uint32, data []byte) {
	if c.err != nil {
		return
	}
	c.ino++
	nlink := 1
	if mode == cpioDir {
		nlink = 2
	}
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.ino, mode, 0, 0, nlink, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	c.padded([]byte(head))
	c.padded(data)
}

// padded writes p and fills it up to a multiple of four.
func (c *cpioWriter) padded(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(append(p[:len(p):len(p)], make([]byte, -len(p)&3)...))
	}
}

// close ends the archive and returns the first error.
func (c *cpioWriter) close() error {
	c.ino = -1
	c.add("TRAILER!!!", 0, nil)
	return c.err
}
