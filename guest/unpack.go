package guest

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// An unpacker writes a tar stream into one folder and nowhere else, whatever the
// stream says. It wants the stream as a packer writes it: folder before content,
// depth first, everything below one root.
type unpacker struct {
	ctx    context.Context
	bound  PullOptions
	owner  *account // owner of what is made; nil: whoever we are
	inside bool     // skip links that lead out of the tree
	stats  TransferStats
	buf    []byte

	top  *os.Root // the folder that the root is made in
	root string   // the root's name in the stream
	name string   // and in top
	dir  string   // the folder that here is, below top
	here *os.Root
	// open are the folders that the stream is in: an entry's parent is one of them.
	open []openDir
}

// An openDir gets its mode when the stream leaves it: the mode may forbid writing.
type openDir struct {
	name string // its last element
	mode fs.FileMode
}

// unpack writes the tree in r at dest. If dest ends in a slash or is a folder,
// the root becomes base in it; else the root becomes dest. Without a base the
// root keeps the name that the stream gives it. Missing parents are made.
func (u *unpacker) unpack(r io.Reader, dest, base string) (TransferStats, error) {
	parent, name := destination(dest, base)
	u.bound = u.bound.orDefault()
	u.buf = make([]byte, chunkSize)
	u.name, u.dir = name, "."
	if err := makeParents(parent, u.owner); err != nil {
		return u.stats, err
	}
	var err error
	if u.top, err = os.OpenRoot(parent); err != nil {
		return u.stats, err
	}
	defer u.top.Close()
	u.here = u.top
	defer func() { u.leave() }()
	if err := u.entries(r); err != nil {
		return u.stats, err
	}
	return u.stats, u.closeDirs(nil)
}

// destination applies the rules of cp -r.
func destination(dest, base string) (parent, name string) {
	info, err := os.Stat(dest)
	if strings.HasSuffix(dest, "/") || err == nil && info.IsDir() {
		return filepath.Clean(dest), base
	}
	return filepath.Dir(dest), filepath.Base(dest)
}

// makeParents makes dir and what is missing above it, for owner.
func makeParents(dir string, owner *account) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s: got a file, want a folder", dir)
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeParents(filepath.Dir(dir), owner); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return owner.own(func(uid, gid int) error { return os.Lchown(dir, uid, gid) })
}

// own calls chown with the account's numbers, if there is an account.
func (a *account) own(chown func(uid, gid int) error) error {
	if a == nil {
		return nil
	}
	return chown(a.uid, a.gid)
}

// entries reads one entry after another. A tar.Reader reads not a byte more than
// the header that it is asked for, so content need not pass through it.
func (u *unpacker) entries(r io.Reader) error {
	for {
		h, err := tar.NewReader(r).Next()
		if err == io.EOF && u.root != "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("tar: %w", err)
		}
		if err := context.Cause(u.ctx); err != nil {
			return err
		}
		if err := u.entry(h, r); err != nil {
			return fmt.Errorf("%s: %w", printable(h.Name, maxPath), err)
		}
	}
}

// entry writes one entry.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name, err := u.place(h)
	if err != nil {
		return err
	}
	if err := u.bound.count(&u.stats, h.Name, h.Size); err != nil {
		return err
	}
	if err := u.enter(path.Dir(name)); err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		return u.makeDir(name, mode)
	case tar.TypeReg:
		return u.makeFile(path.Base(name), mode, h.Size, r)
	case tar.TypeSymlink:
		return u.makeLink(name, h.Linkname)
	}
	return fmt.Errorf("got an entry of type %q, want a file, a folder or a symlink", h.Typeflag)
}

// place checks an entry's name and returns the name below top that it gets.
func (u *unpacker) place(h *tar.Header) (string, error) {
	name := strings.TrimSuffix(h.Name, "/")
	parts := strings.Split(name, "/")
	if !sound(parts) || sparse(h) {
		return "", errors.New("got an entry whose name or form no agent of ours writes")
	}
	if u.root == "" {
		u.root = parts[0]
		u.name = cmp.Or(u.name, u.root)
	} else if len(parts) == 1 {
		return "", errors.New("got a second root")
	}
	if parts[0] != u.root {
		return "", fmt.Errorf("got an entry outside %s", printable(u.root, maxPath))
	}
	parts[0] = u.name
	if err := u.closeDirs(parts[:len(parts)-1]); err != nil {
		return "", err
	}
	if len(u.open) != len(parts)-1 {
		return "", errors.New("got an entry before its folder")
	}
	return path.Join(parts...), nil
}

// closeDirs leaves the folders that are not on the way to parent.
func (u *unpacker) closeDirs(parent []string) error {
	for len(u.open) > 0 && !u.on(parent) {
		last := u.open[len(u.open)-1]
		if err := u.top.Chmod(u.opened(), last.mode); err != nil {
			return err
		}
		u.open = u.open[:len(u.open)-1]
	}
	return nil
}

// on reports whether every open folder is on the way to parent.
func (u *unpacker) on(parent []string) bool {
	if len(u.open) > len(parent) {
		return false
	}
	for i, d := range u.open {
		if d.name != parent[i] {
			return false
		}
	}
	return true
}

// opened returns the path of the innermost open folder.
func (u *unpacker) opened() string {
	names := make([]string, len(u.open))
	for i, d := range u.open {
		names[i] = d.name
	}
	return path.Join(names...)
}

// sound reports whether every element is the name of something in a folder.
func sound(parts []string) bool {
	total := 0
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || len(p) > 255 || strings.ContainsAny(p, "\x00"+string(filepath.Separator)) {
			return false
		}
		total += len(p) + 1
	}
	return len(parts) <= maxTreeDepth+1 && total <= maxPath
}

// sparse reports whether a few bytes of h stand for many.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// enter makes here the folder dir. A tree comes folder by folder, so this is
// rarely more than a comparison.
func (u *unpacker) enter(dir string) error {
	if dir == u.dir {
		return nil
	}
	here := u.top
	if dir != "." {
		var err error
		if here, err = u.top.OpenRoot(dir); err != nil {
			return err
		}
	}
	u.leave()
	u.dir, u.here = dir, here
	return nil
}

func (u *unpacker) leave() {
	if u.here != u.top {
		u.here.Close()
	}
}

func (u *unpacker) makeDir(name string, mode fs.FileMode) error {
	base := path.Base(name)
	err := u.here.Mkdir(base, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, lerr := u.here.Lstat(base)
		if lerr != nil || !info.IsDir() {
			return errors.New("there is something else than a folder of that name")
		}
		err = nil
	}
	if err != nil {
		return err
	}
	u.stats.Dirs++
	if u.inside {
		mode |= 0o700 // whoever pulled it must be able to remove it
	}
	u.open = append(u.open, openDir{base, mode})
	return u.owner.own(func(uid, gid int) error { return u.here.Lchown(base, uid, gid) })
}

func (u *unpacker) makeFile(base string, mode fs.FileMode, size int64, r io.Reader) error {
	f, err := u.here.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := u.clear(base); err != nil {
			return err
		}
		f, err = u.here.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	u.stats.Files++
	err = u.content(f, r, size)
	if err == nil {
		err = u.owner.own(f.Chown)
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

// content copies a file's content and drops what fills its last block.
func (u *unpacker) content(f *os.File, r io.Reader, size int64) error {
	var n int64
	var err error
	if in, ok := r.(*inbox); ok {
		w, finish := largeWriter(f, size)
		n, err = in.writeTo(w, size)
		err = errors.Join(err, finish())
	} else {
		n, err = copyBuffer(u.ctx, f, io.LimitReader(r, size), u.buf)
	}
	u.stats.Bytes += n
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, r, -size&511)
	}
	return err
}

// clear removes the file or link that is in the way of a new one.
func (u *unpacker) clear(base string) error {
	info, err := u.here.Lstat(base)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("there is a folder of that name")
	}
	return u.here.Remove(base)
}

func (u *unpacker) makeLink(name, target string) error {
	if u.inside && !staysInside(name, target) {
		u.stats.skip(name + " -> " + target + ": it leads out of the tree")
		return nil
	}
	base := path.Base(name)
	err := u.here.Symlink(target, base)
	if errors.Is(err, fs.ErrExist) {
		if err := u.clear(base); err != nil {
			return err
		}
		err = u.here.Symlink(target, base)
	}
	if err != nil {
		return err
	}
	u.stats.Files++
	return u.owner.own(func(uid, gid int) error { return u.here.Lchown(base, uid, gid) })
}

// staysInside reports whether a link called name, whose first element is the
// tree's root, leads to something in that tree. Only leading ".." count up: one
// that follows a name might climb out of another link's target.
func staysInside(name, target string) bool {
	up, rest := 0, target
	for rest == ".." || strings.HasPrefix(rest, "../") {
		up, rest = up+1, strings.TrimPrefix(strings.TrimPrefix(rest, ".."), "/")
	}
	if target == "" || len(target) > maxPath || strings.HasPrefix(rest, "/") || os.PathSeparator != '/' && strings.ContainsRune(target, os.PathSeparator) {
		return false
	}
	for part := range strings.SplitSeq(rest, "/") {
		if part == ".." || strings.Contains(part, "\x00") {
			return false
		}
	}
	return up < strings.Count(name, "/")
}
