//go:build !linux

package capture

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// Local returns a source that has nothing to say: guests are Linux.
func Local() Source { return local{} }

type local struct{}

func (local) ReadFile(string, int64) ([]byte, error)         { return nil, errors.ErrUnsupported }
func (local) ReadDir(string) ([]fs.DirEntry, error)          { return nil, errors.ErrUnsupported }
func (local) Lstat(string) (Stat, error)                     { return Stat{}, errors.ErrUnsupported }
func (local) Readlink(string) (string, error)                { return "", errors.ErrUnsupported }
func (local) Xattrs(string) (map[string][]byte, error)       { return nil, errors.ErrUnsupported }
func (local) Run(context.Context, ...string) ([]byte, error) { return nil, errors.ErrUnsupported }
func (local) open(string) (io.ReadCloser, error)             { return nil, errors.ErrUnsupported }

func lxattrs(string) (map[string][]byte, error) { return nil, errors.ErrUnsupported }

// statInfo makes what the host's own system tells look like a guest's.
func statInfo(info fs.FileInfo) Stat {
	mode := uint32(info.Mode().Perm()) | typeFile
	switch {
	case info.IsDir():
		mode ^= typeFile | typeDir
	case info.Mode()&fs.ModeSymlink != 0:
		mode ^= typeFile | typeLink
	}
	return Stat{Mode: mode, Size: info.Size(), Held: info.Size(), Mtime: info.ModTime().UnixNano(), Ctime: info.ModTime().UnixNano()}
}
