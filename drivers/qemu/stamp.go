//go:build linux

package qemu

import (
	"fmt"
	"os"
	"path/filepath"
)

// A stamp is what is cheap to know of a file: whoever writes to it changes it.
type stamp struct {
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime,omitempty"` // nanoseconds; 0: not known
}

// stampFile returns the stamp of a file of a template. The memory's time is left
// out, for it is mapped, and some file systems date what was mapped late.
func stampFile(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	if filepath.Base(path) == ramName {
		return stamp{Size: info.Size()}, nil
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, nil
}

// intact returns an error that says which file of the template in dir is not what
// it was when the template was made.
func (f facts) intact(dir string) error {
	for name, want := range f.Files {
		got, err := stampFile(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			return err
		}
		if got.Size != want.Size {
			return fmt.Errorf("damaged: %s: got %d bytes, want %d", name, got.Size, want.Size)
		}
		if got != want {
			return fmt.Errorf("damaged: %s: it was written to after the template was made", name)
		}
	}
	return nil
}
