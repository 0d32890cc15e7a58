package fake

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
)

// errSkip is what visit's function returns of a folder that it will not enter.
var errSkip = errors.New("skip this folder")

// visit calls fn for p and everything below it, folders before what is in them,
// names in order. Links are not followed.
func (d *disk) visit(p string, fn func(p string, st info) error) error {
	st, err := d.stat(p, false)
	if err != nil {
		return err
	}
	if err := fn(p, st); err == errSkip {
		return nil
	} else if err != nil || !st.IsDir() {
		return err
	}
	list, err := d.list(p, 0)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := d.visit(path.Join(p, e.name), fn); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// dirOf is the folder that p stands in.
func dirOf(p string) string { return path.Dir(path.Clean(p)) }

// errIsDir is what is wrong with a path that is, or is not, a folder.
func errIsDir(is bool) error {
	if is {
		return syscall.EISDIR
	}
	return syscall.ENOTDIR
}

// words of the C library for the errors that a disk returns.
var cWords = []struct {
	err  error
	text string
}{
	{fs.ErrNotExist, "No such file or directory"},
	{syscall.ENOTEMPTY, "Directory not empty"}, // before ErrExist: it is one
	{fs.ErrExist, "File exists"},
	{fs.ErrPermission, "Permission denied"},
	{syscall.EISDIR, "Is a directory"},
	{syscall.ENOTDIR, "Not a directory"},
	{syscall.ENOSPC, "No space left on device"},
}

// plain says what went wrong as a Unix program would.
func plain(err error) string {
	text := err.Error()
	pe := (*fs.PathError)(nil)
	if errors.As(err, &pe) {
		text = pe.Err.Error()
	}
	for _, w := range cWords {
		if errors.Is(err, w.err) {
			text = w.text
			break
		}
	}
	if pe != nil {
		return fmt.Sprintf("cannot %s '%s': %s", pe.Op, pe.Path, text)
	}
	return text
}
