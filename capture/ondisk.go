package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"assay/disk"
)

// onDisk is a guest's file system as the host reads it: a Source that is not
// alive. The guest may have written anything to it, loops of folders included,
// but cannot change it any more. It is safe for concurrent use.
type onDisk struct {
	fs   *disk.Ext4
	dirs map[uint32][]disk.Dirent // by inode, sorted by name
}

// A found is one name on the disk.
type found struct {
	path string
	ino  uint32
	kind uint32 // type bits of st_mode
}

// readDisk lists every folder of a file system. The names are sorted by path and
// hold the root. What cannot be read is a problem of out.
func readDisk(ctx context.Context, fsys *disk.Ext4, out *Sink) (*onDisk, []found, error) {
	d := &onDisk{fs: fsys, dirs: map[uint32][]disk.Dirent{}}
	w := &diskWalk{onDisk: d, out: out, queue: []found{{"/", disk.Root, typeDir}}, names: []found{{"/", disk.Root, typeDir}}}
	w.idle.L = &w.mu
	if _, err := fsys.ReadDir(disk.Root); err != nil {
		return nil, nil, fmt.Errorf("root folder: %w", err)
	}
	parallel(func() {
		for dir, ok := w.next(ctx); ok; dir, ok = w.next(ctx) {
			entries, err := fsys.ReadDir(dir.ino)
			w.listed(dir, entries, err)
		}
	})
	slices.SortFunc(w.names, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return d, w.names, ctx.Err()
}

// diskWalk is one walk over all folders.
type diskWalk struct {
	*onDisk
	out *Sink

	mu    sync.Mutex
	idle  sync.Cond
	queue []found // folders to list
	busy  int
	names []found
}

// next takes a folder, waiting while others may still find some.
func (w *diskWalk) next(ctx context.Context) (found, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := len(w.queue)
		switch {
		case ctx.Err() != nil, n == 0 && w.busy == 0:
			return found{}, false
		case n == 0:
			w.idle.Wait()
			continue
		}
		dir := w.queue[n-1]
		w.queue = w.queue[:n-1]
		if _, twice := w.dirs[dir.ino]; twice {
			w.out.Problem("files: %s: a folder that the disk has elsewhere too", dir.path)
			continue
		}
		w.dirs[dir.ino] = nil
		w.busy++
		return dir, true
	}
}

// listed takes what a folder holds.
func (w *diskWalk) listed(dir found, entries []disk.Dirent, err error) {
	if err != nil {
		w.out.Problem("files: %s: %v", dir.path, err)
	}
	slices.SortFunc(entries, func(a, b disk.Dirent) int { return strings.Compare(a.Name, b.Name) })
	prefix := strings.TrimSuffix(dir.path, "/") + "/"
	names := make([]found, 0, len(entries))
	for _, e := range entries {
		f := found{prefix + e.Name, e.Ino, e.Type}
		if len(f.path) > maxPath {
			w.out.Problem("files: %s: path of %d bytes left out, at most %d", cut(f.path, 80), len(f.path), maxPath)
			continue
		}
		if f.kind == 0 {
			f.kind = w.kindOf(e.Ino)
		}
		names = append(names, f)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs[dir.ino] = entries
	w.busy--
	if len(w.names)+len(names) > maxRecords {
		w.out.Problem("files: %s: cut after %d names", dir.path, len(w.names))
		names = nil
	}
	w.names = append(w.names, names...)
	for _, f := range names {
		if f.kind == typeDir {
			w.queue = append(w.queue, f)
		}
	}
	w.idle.Broadcast()
}

func (d *onDisk) kindOf(ino uint32) uint32 {
	i, err := d.fs.Inode(ino)
	if err != nil {
		return 0
	}
	return i.Mode & typeMask
}

// child finds a name in a folder that was listed.
func (d *onDisk) child(dir uint32, name string) (uint32, error) {
	entries, isDir := d.dirs[dir]
	if !isDir {
		return 0, syscall.ENOTDIR
	}
	i, ok := slices.BinarySearchFunc(entries, name, func(e disk.Dirent, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return 0, fs.ErrNotExist
	}
	return entries[i].Ino, nil
}

// inode follows p as the guest would: links in folders always, a link at the end
// if last is set.
func (d *onDisk) inode(op, p string, last bool) (*disk.Inode, error) {
	fail := func(err error) (*disk.Inode, error) { return nil, &fs.PathError{Op: op, Path: p, Err: err} }
	trail := []uint32{disk.Root} // the folders down to here, for ".."
	rest := strings.Split(p, "/")
	for hops := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			trail = trail[:max(1, len(trail)-1)]
			continue
		}
		ino, err := d.child(trail[len(trail)-1], name)
		if err != nil {
			return fail(err)
		}
		if _, isDir := d.dirs[ino]; !isDir && (last || len(rest) > 0) && d.kindOf(ino) == typeLink {
			if hops++; hops > maxLinks {
				return fail(syscall.ELOOP)
			}
			target, err := d.fs.Readlink(ino)
			if err != nil {
				return fail(err)
			}
			if path.IsAbs(target) {
				trail = trail[:1]
			}
			rest = append(strings.Split(target, "/"), rest...)
			continue
		}
		trail = append(trail, ino)
	}
	i, err := d.fs.Inode(trail[len(trail)-1])
	if err != nil {
		return fail(err)
	}
	return i, nil
}

// Lstat implements Source.
func (d *onDisk) Lstat(p string) (Stat, error) {
	i, err := d.inode("lstat", p, false)
	if err != nil {
		return Stat{}, err
	}
	return statOfInode(i), nil
}

func statOfInode(i *disk.Inode) Stat {
	return Stat{Mode: i.Mode, UID: i.UID, GID: i.GID, Size: i.Size, Held: i.Blocks * 512, Ino: uint64(i.Number), Nlink: uint64(i.Nlink),
		Rdev: i.Rdev, Mtime: i.Mtime, Ctime: i.Ctime}
}

// Readlink implements Source.
func (d *onDisk) Readlink(p string) (string, error) {
	i, err := d.inode("readlink", p, false)
	if err != nil {
		return "", err
	}
	if i.Mode&typeMask != typeLink {
		return "", &fs.PathError{Op: "readlink", Path: p, Err: syscall.EINVAL}
	}
	return d.fs.Readlink(i.Number)
}

// ReadDir implements Source.
func (d *onDisk) ReadDir(p string) ([]fs.DirEntry, error) {
	i, err := d.inode("open", p, true)
	if err != nil {
		return nil, err
	}
	entries, isDir := d.dirs[i.Number]
	if !isDir {
		return nil, &fs.PathError{Op: "readdir", Path: p, Err: syscall.ENOTDIR}
	}
	out := make([]fs.DirEntry, len(entries))
	for n, e := range entries {
		out[n] = diskEntry{d, e}
	}
	return out, nil
}

// ReadFile implements Source.
func (d *onDisk) ReadFile(p string, limit int64) ([]byte, error) {
	f, err := d.openAt(p, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, p, limit)
}

func (d *onDisk) open(p string) (io.ReadCloser, error) { return d.openAt(p, false) }

func (d *onDisk) openAt(p string, follow bool) (io.ReadCloser, error) {
	i, err := d.inode("open", p, follow)
	if err != nil {
		return nil, err
	}
	if i.Mode&typeMask != typeFile {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.New("not a regular file")}
	}
	return d.fs.Open(i.Number)
}

// Xattrs implements Source.
func (d *onDisk) Xattrs(p string) (map[string][]byte, error) {
	i, err := d.inode("getxattr", p, false)
	if err != nil {
		return nil, err
	}
	return d.fs.Xattrs(i.Number)
}

// Run implements Source: a disk runs nothing.
func (d *onDisk) Run(_ context.Context, argv ...string) ([]byte, error) {
	return nil, fmt.Errorf("%s: a disk runs no program: %w", cmp.Or(argv...), errors.ErrUnsupported)
}

// diskEntry is a name as ReadDir gives it.
type diskEntry struct {
	d *onDisk
	e disk.Dirent
}

func (e diskEntry) Name() string { return e.e.Name }
func (e diskEntry) IsDir() bool  { return e.Type() == fs.ModeDir }

// Type tells folders and links from all else, which is what collectors ask.
func (e diskEntry) Type() fs.FileMode {
	switch cmp.Or(e.e.Type, e.d.kindOf(e.e.Ino)) {
	case typeDir:
		return fs.ModeDir
	case typeLink:
		return fs.ModeSymlink
	case typeFile:
		return 0
	}
	return fs.ModeIrregular
}

// Info is not what collectors ask: Lstat tells more.
func (e diskEntry) Info() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
