package fake

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxLinks is how many symlinks one path may cross.
const maxLinks = 40

// A disk is a file system in memory. Its methods are safe for concurrent use.
// Paths are absolute; uid is who asks, and 0 may do anything.
type disk struct {
	mu   sync.Mutex
	root *node
	ino  uint64 // the last one given
	used int64  // bytes of file data
	size int64  // what fits
	now  func() time.Time
}

// A node is one file, folder or symlink. The disk's lock guards it.
type node struct {
	mode     fs.FileMode // type and permission bits
	uid, gid int
	ino      uint64
	mtime    time.Time
	ctime    time.Time
	data     []byte
	target   string
	children map[string]*node // folders only
}

func newDisk(size int64, now func() time.Time) *disk {
	d := &disk{size: size, now: now}
	d.root = d.make(fs.ModeDir|0o755, 0)
	return d
}

// make returns a new node that stands in no folder yet.
func (d *disk) make(mode fs.FileMode, uid int) *node {
	d.ino++
	n := &node{mode: mode, uid: uid, gid: uid, ino: d.ino, mtime: d.now(), ctime: d.now()}
	if mode.IsDir() {
		n.children = map[string]*node{}
	}
	return n
}

// clone returns a deep copy: a change of one is never seen in the other.
func (d *disk) clone() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{root: d.root.clone(map[*node]*node{}), ino: d.ino, used: d.used, size: d.size, now: d.now}
}

// clone copies a tree. Hard links stay links: seen holds what is copied already.
func (n *node) clone(seen map[*node]*node) *node {
	if c, ok := seen[n]; ok {
		return c
	}
	c := *n
	seen[n] = &c
	c.data = slices.Clone(n.data)
	if n.children != nil {
		c.children = make(map[string]*node, len(n.children))
		for name, child := range n.children {
			c.children[name] = child.clone(seen)
		}
	}
	return &c
}

func pathError(op, p string, err error) error { return &fs.PathError{Op: op, Path: p, Err: err} }

// find walks to p. If the last element is a symlink it is followed or not, as
// the caller says. The caller holds the lock.
func (d *disk) find(p string, follow bool) (*node, error) {
	n, _, _, err := d.walk(p, follow)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	return n, err
}

// walk returns the node at p, nil if only its folder exists, and the folder and
// name under which it stands or would stand.
func (d *disk) walk(p string, follow bool) (n, dir *node, name string, err error) {
	rest := elements(p)
	links := 0
	n = d.root
	at := []*node{} // the folders above n
	for len(rest) > 0 {
		name, rest = rest[0], rest[1:]
		if n == nil {
			return nil, nil, "", fs.ErrNotExist
		}
		if !n.mode.IsDir() {
			return nil, nil, "", syscall.ENOTDIR
		}
		if name == ".." {
			dir = nil
			if len(at) > 0 {
				n, at = at[len(at)-1], at[:len(at)-1]
			}
			continue
		}
		dir = n
		n = dir.children[name]
		if n == nil || n.mode&fs.ModeSymlink == 0 || len(rest) == 0 && !follow {
			at = append(at, dir)
			continue
		}
		if links++; links > maxLinks {
			return nil, nil, "", syscall.ELOOP
		}
		rest = append(elements(n.target), rest...)
		if path.IsAbs(n.target) {
			n, at = d.root, nil
		} else {
			n = dir
		}
	}
	return n, dir, name, nil
}

// elements splits a path and keeps "..": it means the real parent.
func elements(p string) []string {
	return slices.DeleteFunc(strings.Split(p, "/"), func(s string) bool { return s == "" || s == "." })
}

// may reports whether uid may use n in the ways of mask: 4 read, 2 write, 1 search.
func (n *node) may(uid int, mask fs.FileMode) bool {
	switch {
	case uid == 0:
		return true
	case n.uid == uid:
		return n.mode.Perm()>>6&mask == mask
	case n.gid == uid:
		return n.mode.Perm()>>3&mask == mask
	}
	return n.mode.Perm()&mask == mask
}

// read returns a copy of a file's content.
func (d *disk) read(p string, uid int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(p, true)
	switch {
	case err != nil:
	case n.mode.IsDir():
		err = syscall.EISDIR
	case !n.may(uid, 4):
		err = fs.ErrPermission
	default:
		return slices.Clone(n.data), nil
	}
	return nil, pathError("open", p, err)
}

// open finds or makes the file for writing, or reports why not. Flags are the
// few that a shell's redirections need.
func (d *disk) open(p string, perm fs.FileMode, truncate bool, uid int) (*node, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, dir, name, err := d.walk(p, true)
	switch {
	case err != nil:
	case n == nil && !dir.may(uid, 2), n != nil && !n.may(uid, 2):
		err = fs.ErrPermission
	case n == nil:
		n = d.make(perm.Perm(), uid)
		d.link(dir, name, n)
	case n.mode.IsDir():
		err = syscall.EISDIR
	case truncate:
		err = d.set(n, nil)
	}
	if err != nil {
		return nil, pathError("open", p, err)
	}
	return n, nil
}

// link puts n into a folder. The caller holds the lock.
func (d *disk) link(dir *node, name string, n *node) {
	dir.children[name] = n
	dir.mtime, dir.ctime = d.now(), d.now()
}

// set replaces n's content within the disk's size. The caller holds the lock.
func (d *disk) set(n *node, data []byte) error {
	used := d.used - int64(len(n.data)) + int64(len(data))
	if used > d.size {
		return syscall.ENOSPC
	}
	d.used, n.data = used, data
	n.mtime, n.ctime = d.now(), d.now()
	return nil
}

// append adds to an open file.
func (d *disk) append(n *node, p []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.set(n, append(n.data, p...))
}

// write replaces or makes a file.
func (d *disk) write(p string, data []byte, perm fs.FileMode, uid int) error {
	n, err := d.open(p, perm, true, uid)
	if err != nil {
		return err
	}
	if err := d.append(n, data); err != nil {
		return pathError("write", p, err)
	}
	return nil
}

// place puts a new node at p where nothing stands.
func (d *disk) place(op, p string, n func() *node, uid int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, dir, name, err := d.walk(p, false)
	switch {
	case err != nil:
	case old != nil || dir == nil:
		err = fs.ErrExist
	case !dir.may(uid, 2):
		err = fs.ErrPermission
	default:
		d.link(dir, name, n())
		return nil
	}
	return pathError(op, p, err)
}

func (d *disk) mkdir(p string, perm fs.FileMode, uid int) error {
	return d.place("mkdir", p, func() *node { return d.make(fs.ModeDir|perm, uid) }, uid)
}

// mkdirAll makes a folder and those above it; existing ones are left as they are.
func (d *disk) mkdirAll(p string, perm fs.FileMode, uid int) error {
	if st, err := d.stat(p, true); err == nil {
		if st.IsDir() {
			return nil
		}
		return pathError("mkdir", p, syscall.ENOTDIR)
	}
	if parent := path.Dir(p); parent != p {
		if err := d.mkdirAll(parent, perm, uid); err != nil {
			return err
		}
	}
	return d.mkdir(p, perm, uid)
}

func (d *disk) symlink(target, p string, uid int) error {
	return d.place("symlink", p, func() *node {
		n := d.make(fs.ModeSymlink|0o777, uid)
		n.target = target
		return n
	}, uid)
}

// remove takes p away; all: with everything below it.
func (d *disk) remove(p string, all bool, uid int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, dir, name, err := d.walk(p, false)
	switch {
	case err != nil:
	case n == nil:
		err = fs.ErrNotExist
	case n == d.root || dir == nil:
		err = syscall.EBUSY
	case !dir.may(uid, 2):
		err = fs.ErrPermission
	case len(n.children) > 0 && !all:
		err = syscall.ENOTEMPTY
	default:
		d.used -= n.bytes()
		delete(dir.children, name)
		dir.mtime, dir.ctime = d.now(), d.now()
		return nil
	}
	return pathError("remove", p, err)
}

// bytes is the file data in a tree.
func (n *node) bytes() int64 {
	sum := int64(len(n.data))
	for _, c := range n.children {
		sum += c.bytes()
	}
	return sum
}

func (d *disk) rename(from, to string, uid int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, dir, name, err := d.walk(from, false)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return pathError("rename", from, err)
	}
	old, toDir, toName, err := d.walk(to, false)
	switch {
	case err != nil:
	case toDir == nil || old != nil && old.mode.IsDir():
		err = fs.ErrExist
	case !dir.may(uid, 2) || !toDir.may(uid, 2):
		err = fs.ErrPermission
	default:
		delete(dir.children, name)
		d.link(toDir, toName, n)
		n.ctime = d.now()
		return nil
	}
	return pathError("rename", to, err)
}

// change edits a node's attributes, if uid owns it.
func (d *disk) change(op, p string, follow bool, uid int, edit func(*node)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(p, follow)
	if err == nil && uid != 0 && n.uid != uid {
		err = syscall.EPERM
	}
	if err != nil {
		return pathError(op, p, err)
	}
	edit(n)
	n.ctime = d.now()
	return nil
}

func (d *disk) chmod(p string, perm fs.FileMode, uid int) error {
	return d.change("chmod", p, true, uid, func(n *node) {
		const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
		n.mode = n.mode&^bits | perm&bits
	})
}

func (d *disk) chown(p string, to, uid int) error {
	if uid != 0 {
		return pathError("chown", p, syscall.EPERM)
	}
	return d.change("chown", p, false, uid, func(n *node) { n.uid, n.gid = to, to })
}

// stat describes p.
func (d *disk) stat(p string, follow bool) (info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(p, follow)
	if err != nil {
		return info{}, pathError("stat", p, err)
	}
	return n.info(path.Base(p)), nil
}

func (d *disk) readlink(p string) (string, error) {
	st, err := d.stat(p, false)
	if err == nil && st.Mode()&fs.ModeSymlink == 0 {
		err = pathError("readlink", p, syscall.EINVAL)
	}
	return st.target, err
}

// list lists a folder, sorted by name.
func (d *disk) list(p string, uid int) ([]info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(p, true)
	switch {
	case err != nil:
	case !n.mode.IsDir():
		err = syscall.ENOTDIR
	case !n.may(uid, 4):
		err = fs.ErrPermission
	}
	if err != nil {
		return nil, pathError("open", p, err)
	}
	var all []info
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		all = append(all, n.children[name].info(name))
	}
	return all, nil
}

// info is a copy of what is known of a node; it is an fs.FileInfo and an fs.DirEntry.
type info struct {
	node
	name string
	size int64
}

func (n *node) info(name string) info {
	i := info{node: *n, name: name, size: int64(len(n.data))}
	i.data, i.children = nil, nil
	if n.mode&fs.ModeSymlink != 0 {
		i.size = int64(len(n.target))
	}
	return i
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) Mode() fs.FileMode          { return i.mode }
func (i info) ModTime() time.Time         { return i.mtime }
func (i info) IsDir() bool                { return i.mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Type() fs.FileMode          { return i.mode.Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) String() string             { return fmt.Sprintf("%s %s", i.mode, i.name) }
