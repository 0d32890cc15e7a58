package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// scratch are buffers for the kernel's small files, which tell no size beforehand.
var scratch = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// slurp reads an open file, at most limit bytes, and closes it. It is what os.File
// does, without what that needs to wait for a file: half the cost of a small one.
func slurp(fd int, p string, limit int64) ([]byte, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	if st.Mode&typeMask != typeFile {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("not a regular file")}
	}
	small := scratch.Get().(*[16 << 10]byte)
	defer scratch.Put(small)
	buf, n := small[:], 0
	if st.Size >= int64(len(buf)) {
		buf = make([]byte, min(st.Size, limit)+1)
	}
	for {
		got, err := readOnce(fd, buf[n:])
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: p, Err: err}
		}
		n += got
		switch {
		case int64(n) > limit:
			return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("longer than %d bytes", limit)}
		case got == 0:
			return bytes.Clone(buf[:n]), nil
		case n == len(buf):
			buf = append(buf[:n:n], make([]byte, n)...)
		}
	}
}

// readOnce is read(2), repeated when a signal comes in between.
func readOnce(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// readOne reads a file of the kernel's that gives all to one read, if there is
// room: to read again for nothing costs as much as to read.
func (l *local) readOne(p string) ([]byte, error) {
	fd, err := unix.Open(p, openFlags|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	small := scratch.Get().(*[16 << 10]byte)
	defer scratch.Put(small)
	n, err := readOnce(fd, small[:])
	unix.Close(fd)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: p, Err: err}
	}
	if n == len(small) {
		return l.ReadFile(p, maxOne)
	}
	return bytes.Clone(small[:n]), nil
}

func (l *local) linksIn(dir string) ([]string, error) {
	fd, err := unix.Open(dir, openFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	entries, err := kinds(fd)
	targets := make([]string, 0, len(entries))
	buf := scratch.Get().(*[16 << 10]byte)
	defer scratch.Put(buf)
	for _, e := range entries {
		if n, err := unix.Readlinkat(fd, e.name, buf[:maxPath]); err == nil && n > 0 {
			targets = append(targets, string(buf[:n]))
		}
	}
	return targets, err
}

// dirEntry is a folder's entry; what the folder does not tell is looked up.
type dirEntry struct {
	kindOf
	dir string
}

func (e dirEntry) Name() string               { return e.name }
func (e dirEntry) IsDir() bool                { return e.kind == unix.DT_DIR }
func (e dirEntry) Type() fs.FileMode          { return fileTypes[e.kind] }
func (e dirEntry) Info() (fs.FileInfo, error) { return os.Lstat(e.dir + "/" + e.name) }

var fileTypes = map[byte]fs.FileMode{
	unix.DT_DIR: fs.ModeDir, unix.DT_LNK: fs.ModeSymlink, unix.DT_FIFO: fs.ModeNamedPipe, unix.DT_SOCK: fs.ModeSocket,
	unix.DT_CHR: fs.ModeDevice | fs.ModeCharDevice, unix.DT_BLK: fs.ModeDevice,
}

// ReadDir is os.ReadDir at half the cost.
func (l *local) ReadDir(p string) ([]fs.DirEntry, error) {
	fd, err := unix.Open(p, openFlags|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	defer unix.Close(fd)
	found, err := kinds(fd)
	if err != nil {
		err = &fs.PathError{Op: "readdir", Path: p, Err: err}
	}
	slices.SortFunc(found, func(a, b kindOf) int { return strings.Compare(a.name, b.name) })
	entries := make([]fs.DirEntry, 0, len(found))
	for _, e := range found {
		if e.kind == unix.DT_UNKNOWN {
			return os.ReadDir(p) // a file system that does not tell
		}
		entries = append(entries, dirEntry{e, p})
	}
	return entries, err
}

// readTree reads every wanted file below root, as reader.readTree tells.
func (l *local) readTree(ctx context.Context, root string, wanted func(p string) bool, visit func(p string, data []byte, err error)) {
	fd, err := unix.Open(root, openFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		visit(root, nil, err)
		return
	}
	t := tree{ctx: ctx, wanted: wanted, visit: visit, small: make([]byte, 1<<10-1)}
	t.walk(fd, root, 0)
}

// tree is one walk of readTree.
type tree struct {
	ctx    context.Context
	wanted func(p string) bool
	visit  func(p string, data []byte, err error)
	small  []byte // the kernel clears as much memory for each read
}

// walk reads a folder, and closes it.
func (t tree) walk(fd int, dir string, depth int) {
	defer unix.Close(fd)
	if depth > maxDepth {
		return
	}
	entries, err := kinds(fd)
	if err != nil {
		t.visit(dir, nil, err)
	}
	for _, e := range entries {
		p := dir + "/" + e.name
		if t.ctx.Err() != nil {
			return
		}
		if !t.wanted(p) {
			continue
		}
		switch e.kind {
		case unix.DT_DIR:
			if sub, err := unix.Openat(fd, e.name, openFlags|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err == nil {
				t.walk(sub, p, depth+1)
			} else {
				t.visit(p, nil, err)
			}
		case unix.DT_REG:
			t.file(fd, e.name, p)
		}
	}
}

// file reads a file of the folder dir. One read gives all of a setting.
func (t tree) file(dir int, name, p string) {
	fd, err := unix.Openat(dir, name, openFlags|unix.O_NOFOLLOW, 0)
	if err != nil {
		var st unix.Stat_t
		if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&0o444 != 0 {
			t.visit(p, nil, err)
		}
		return // nobody may read what may only be written
	}
	defer unix.Close(fd)
	buf := t.small
	n, err := readOnce(fd, buf)
	if n == len(buf) {
		buf = make([]byte, maxSetting+1)
		n, err = unix.Pread(fd, buf, 0)
	}
	if n > maxSetting {
		err = fmt.Errorf("longer than %d bytes", maxSetting)
	}
	t.visit(p, buf[:max(n, 0)], err)
}

// kindOf is a folder's entry as getdents tells it: without a stat.
type kindOf struct {
	name string
	kind byte // unix.DT_REG, …
}

// kinds reads an open folder.
func kinds(fd int) ([]kindOf, error) {
	buf := scratch.Get().(*[16 << 10]byte)
	defer scratch.Put(buf)
	var found []kindOf
	for len(found) <= maxRecords {
		n, err := unix.ReadDirent(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return found, err
		}
		found = appendKinds(found, buf[:n])
	}
	return found, fmt.Errorf("more than %d names", maxRecords)
}

// appendKinds parses struct linux_dirent64: inode, offset, length of all, type,
// name.
func appendKinds(found []kindOf, b []byte) []kindOf {
	const head = 19
	for len(b) > head {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= head || size > len(b) {
			break
		}
		name, _, _ := bytes.Cut(b[head:size], []byte{0})
		if s := string(name); s != "." && s != ".." {
			found = append(found, kindOf{s, b[18]})
		}
		b = b[size:]
	}
	return found
}
