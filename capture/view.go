package capture

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// A view is what the files of a disk are, as far as the disk tells. Views share
// what they have in common.
type view struct {
	chain  []string // ids of the layers, oldest first
	owners owners
	files  []*seen // sorted by path

	mounted mountPoints // where the guest had mounted other file systems, as it said last
}

// A seen is one path of a view. It never changes.
type seen struct {
	path     string
	ino      uint32
	kind     uint32 // type bits of st_mode
	uid, gid uint32
	size     int64
	asked    bool  // for the text
	excess   error // why the content was not read
	record   Record
}

// diskLook makes a view of a disk, from another one of an earlier time.
type diskLook struct {
	*walk
	disk    *onDisk
	touched func(ino uint32) bool // whether anything may have happened to a file since
	files   []*seen
	fresh   []int // indices of what was not taken over
	budget  hashBudget
	later   bool         // there is an earlier view of the disk
	sums    atomic.Int64 // bytes of dpkg's tables that are kept
}

// look describes every name on a disk. What old tells of a file to which nothing
// happened since is taken over; old may be nil. It returns the paths of the rest too.
func look(ctx context.Context, d *onDisk, names []found, old *view, touched func(uint32) bool, out *Sink) (*view, []string, error) {
	l := &diskLook{walk: &walk{src: source{d}, out: out, owners: readOwners(d)}, disk: d, touched: touched, files: make([]*seen, len(names))}
	if old == nil {
		old = &view{}
	}
	l.later = len(old.files) > 0
	l.takeOver(names, old)
	l.askForTexts()
	l.read(ctx)
	v := &view{owners: l.owners, mounted: old.mounted, files: slices.DeleteFunc(l.files, func(s *seen) bool { return s == nil })}
	fresh := make([]string, 0, len(l.fresh))
	for _, i := range l.fresh {
		fresh = append(fresh, names[i].path)
	}
	return v, fresh, ctx.Err()
}

// takeOver finds what is known already, and what an inode tells of the rest.
func (l *diskLook) takeOver(names []found, old *view) {
	sameNames := maps.Equal(old.owners.users, l.owners.users) && maps.Equal(old.owners.groups, l.owners.groups)
	rest := old.files
	for i, n := range names {
		for len(rest) > 0 && rest[0].path < n.path {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].path == n.path && rest[0].ino == n.ino && !l.touched(n.ino) && (sameNames || l.ownedAs(rest[0])) {
			l.files[i] = rest[0]
			continue
		}
		inode, err := l.disk.fs.Inode(n.ino)
		if err != nil {
			l.out.Problem("files: %s: %v", n.path, err)
			continue
		}
		s := &seen{path: n.path, ino: n.ino, kind: inode.Mode & typeMask, uid: inode.UID, gid: inode.GID, size: inode.Size}
		if s.kind == typeFile {
			s.excess = l.budget.spend(inode.Size, statOfInode(inode).Held)
		}
		l.files[i] = s
		l.fresh = append(l.fresh, i)
	}
}

// ownedAs reports whether the owners of a file are still called what they were.
func (l *diskLook) ownedAs(s *seen) bool {
	return s.record.Attrs["owner"] == l.owners.users[s.uid] && s.record.Attrs["group"] == l.owners.groups[s.gid]
}

// askForTexts decides whose text is kept, in the order of paths as every walk does.
func (l *diskLook) askForTexts() {
	var b textBudget
	again := false
	for i, s := range l.files {
		if s == nil || s.kind != typeFile {
			continue
		}
		switch asked := b.grants(s.path, s.size); {
		case s.record.Kind == "":
			s.asked = asked
		case s.asked != asked:
			other := *s
			other.asked, other.record = asked, Record{}
			l.files[i] = &other
			l.fresh = append(l.fresh, i)
			again = true
		}
	}
	if again {
		slices.Sort(l.fresh)
	}
}

// read makes the records of what was not taken over. A file that makes none is
// left out.
func (l *diskLook) read(ctx context.Context) {
	var mu sync.Mutex
	next := 0
	parallel(func() {
		buf := make([]byte, 128<<10)
		for ctx.Err() == nil {
			mu.Lock()
			i := next
			next++
			mu.Unlock()
			if i >= len(l.fresh) {
				return
			}
			l.readOne(l.fresh[i], buf)
		}
	})
}

func (l *diskLook) readOne(i int, buf []byte) {
	s := l.files[i]
	inode, err := l.disk.fs.Inode(s.ino)
	if err != nil {
		l.out.Problem("files: %s: %v", s.path, err)
		l.files[i] = nil
		return
	}
	e := entry{path: s.path, stat: statOfInode(inode), text: s.asked, excess: s.excess}
	if s.kind == typeLink {
		if e.target, err = l.disk.fs.Readlink(s.ino); err != nil {
			l.out.Problem("files: %s: %v", s.path, err)
		}
	}
	r := l.observe(e, buf)
	l.vouch(s, r)
	setIf(r.Attrs, locked, lockOf(inode))
	if !l.out.accepts(r) {
		l.files[i] = nil
		return
	}
	s.record = r
}

// records returns what the files of a view are in a guest that has mounted other
// file systems over some of them: those keep the guest's own word, and what lies
// beneath has a key and an attribute of its own.
func (v *view) records(mounted mountPoints) []Record {
	out := make([]Record, 0, len(v.files)+1024)
	for _, s := range v.files {
		point, at := mounted.over(s.path)
		switch {
		case at && s.kind == typeDir: // the guest tells what is mounted there
		case point != "":
			out = append(out, beneath(s.record, point))
		default:
			out = append(out, s.record)
		}
	}
	return out
}

// beneath is the record of a file that a mount hides from the guest's programs.
func beneath(r Record, point string) Record {
	attrs := maps.Clone(r.Attrs)
	attrs["hidden"] = Escape(point)
	return Record{r.Kind, HiddenPrefix + r.Key, attrs}
}

// mountPoints are the places below which a guest sees another file system than
// the one of its root folder.
type mountPoints map[string]bool

// over returns the mount point that hides p, if any, and whether p itself is one.
func (m mountPoints) over(p string) (point string, at bool) {
	if m[p] {
		return p, true
	}
	for i := len(p) - 1; i > 0; i-- {
		if p[i] == '/' && m[p[:i]] {
			return p[:i], false
		}
	}
	return "", false
}

// viewOf makes a view of a manifest that the host made.
func viewOf(m *Manifest) *view {
	v := &view{chain: []string{m.image}, files: make([]*seen, 0, len(m.records))}
	for _, r := range m.records {
		if s, err := seenOf(r); err == nil {
			v.files = append(v.files, s)
		}
	}
	slices.SortFunc(v.files, func(a, b *seen) int { return strings.Compare(a.path, b.path) })
	return v
}

func seenOf(r Record) (*seen, error) {
	p, err := Unescape(r.Key)
	if err != nil {
		return nil, err
	}
	s := &seen{path: p, kind: typeBits(r.Attrs["type"]), record: r}
	for name, into := range map[string]*uint32{"ino": &s.ino, "uid": &s.uid, "gid": &s.gid} {
		n, err := strconv.ParseUint(r.Attrs[name], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		*into = uint32(n)
	}
	s.size, _ = strconv.ParseInt(r.Attrs["size"], 10, 64) // files only
	s.asked = s.kind == typeFile && keepsText(p, s.size)
	return s, nil
}
