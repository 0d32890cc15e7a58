// Package platform asks the system that assay itself runs on for what every system
// says in its own way: memory, free space, locks of files, virtualisation.
//
// It knows Linux, macOS and Windows, and nothing about machines, guests or
// what the answers are for.
package platform

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLocked is what Lock says of a file that another process has locked.
var ErrLocked = errors.New("locked by another process")

// Kind says how a lock is shared.
type Kind int

// The kinds of lock.
const (
	Shared    Kind = iota // many hold it
	Exclusive             // one holds it
)

// Lock locks an open file, or reports ErrLocked at once. The system frees the
// lock when the file is closed, also by the end of the process.
func Lock(f *os.File, kind Kind) error { return lock(f, kind) }

// FreeSpace returns the bytes that a user can write where path is, or will be:
// of what does not exist yet its nearest parent counts.
func FreeSpace(path string) (int64, error) {
	for {
		_, err := os.Stat(path)
		if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
			path = parent
			continue
		}
		return freeSpace(path)
	}
}

// Memory returns how many bytes of memory there are, and how many could be given
// now. Where the system does not say, both are 0.
func Memory() (all, available int64) { return memory() }

// Occupied returns the bytes that a file takes on its disk, holes left out.
func Occupied(info fs.FileInfo) int64 { return occupied(info) }

// Owned reports whether a file is this user's.
func Owned(info fs.FileInfo) bool { return owned(info) }

// A Virtual is what is known of the processor's virtualisation.
type Virtual struct {
	Usable bool
	Found  string // in one line: "VT-x"
	Fix    string // what to do, if it is not usable and something can be done
}

// Virtualisation reports whether guests can run on the processor itself.
func Virtualisation() Virtual { return virtualisation() }
