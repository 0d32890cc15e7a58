package disk

import (
	"errors"
	"fmt"
)

// An UnsupportedError is about something that is well-formed, but that this room
// does not read. It unwraps to errors.ErrUnsupported.
type UnsupportedError struct {
	Subject string // what has the feature: a file, "ext4", "ext4: inode 12"
	Feature string // its name: "qcow2 extended L2 entries", "encrypt"
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("disk: %s: %s is not read here", e.Subject, e.Feature)
}

// Unwrap returns errors.ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// A CorruptError is about a file system that contradicts itself, by damage or on
// purpose.
type CorruptError struct {
	Subject string // "ext4", "ext4: inode 12"
	Problem string // what was got, what was wanted
}

func (e *CorruptError) Error() string { return fmt.Sprintf("disk: %s: %s", e.Subject, e.Problem) }
