package capture

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The type bits of st_mode, the same on every Linux.
const (
	typeMask   = 0o170000
	typeSocket = 0o140000
	typeLink   = 0o120000
	typeFile   = 0o100000
	typeBlock  = 0o060000
	typeDir    = 0o040000
	typeChar   = 0o020000
	typeFIFO   = 0o010000
)

var typeNames = map[uint32]string{typeSocket: "socket", typeLink: "link", typeFile: "file", typeBlock: "block", typeDir: "dir", typeChar: "char", typeFIFO: "fifo"}

// typeBits is the other way round.
func typeBits(name string) uint32 {
	for bits, n := range typeNames {
		if n == name {
			return bits
		}
	}
	return 0
}

// scan is what the files collector is told beside its source.
type scan struct {
	roots  []string
	known  *prints // nil: nothing is known
	memory *memory // nil: nothing is remembered

	// elsewhere is set where the host reads the root's file system itself: only
	// live collectors run, and only other file systems are walked.
	elsewhere bool
}

// files observes everything that has a path. It opens regular files only, never
// follows a link, and leaves file systems out that hold no files of their own.
type files struct{ scan }

func (files) Name() string    { return "files" }
func (files) Kinds() []string { return []string{File} }

func (f files) Collect(ctx context.Context, src Source, out *Sink) error {
	w := &walk{scan: f.scan, src: source{src}, out: out, skip: skippedMounts(src, out), owners: readOwners(src)}
	w.remembered, w.fresh = f.memory.begin()
	roots := f.roots
	switch {
	case f.elsewhere:
		roots = outermost(readMounts(src, out))
	case len(roots) == 0:
		roots = []string{"/"}
	}
	for _, r := range roots {
		w.root(path.Clean("/" + r))
	}
	w.walkAll(ctx)
	w.readAll(ctx)
	if ctx.Err() == nil {
		f.memory.end(w.fresh)
	}
	return ctx.Err()
}

// walk is one walk. The first phase lists folders, the second reads files.
type walk struct {
	scan
	src        source
	out        *Sink
	skip       map[string]bool // mount points that are not walked
	owners     owners
	remembered map[string]remembered // by the capture before
	start      int64

	mu     sync.Mutex
	folded sync.Cond
	dirs   []string // still to list
	busy   int      // workers that list one
	files  []entry  // still to read
	fresh  map[string]remembered
}

// entry is one name in a folder.
type entry struct {
	path   string
	stat   Stat
	target string // of a link
	text   bool   // its content is to be kept
	excess error  // why its content is not to be read; nil if it is
}

// root puts a folder, or a single file, at the walk's start.
func (w *walk) root(p string) {
	st, err := w.src.Lstat(p)
	if err != nil {
		if p != "/" && errors.Is(err, fs.ErrNotExist) {
			return
		}
		w.out.Problem("files: %s: %v", p, err)
		return
	}
	w.meet(entry{path: p, stat: st, target: w.src.target(p, st)})
}

// meet notes entries: known ones are marked, folders queued, files left for the
// second phase, anything else is a record at once.
func (w *walk) meet(entries ...entry) {
	prints := w.printsOf(entries)
	var dirs []string
	var files, others []entry
	w.mu.Lock()
	for i, e := range entries {
		known := prints != nil && w.known.has(prints[i])
		kind := e.stat.Mode & typeMask
		if kind == typeDir && !w.skip[e.path] {
			dirs = append(dirs, e.path)
		}
		switch {
		case known:
			w.carry(e)
		case kind == typeFile:
			files = append(files, e)
		default:
			others = append(others, e)
		}
	}
	w.dirs = append(w.dirs, dirs...)
	w.files = append(w.files, files...)
	w.mu.Unlock()
	for _, e := range others {
		w.out.Add(w.record(e))
	}
}

// carry hands what is remembered of a known file on, for a capture that knows less.
func (w *walk) carry(e entry) {
	if old, ok := w.remembered[e.path]; ok && old.stat == shape(e.stat) {
		w.fresh[e.path] = old
	}
}

// printsOf fingerprints entries; nil when nothing is known anyway.
func (w *walk) printsOf(entries []entry) []uint64 {
	if w.known == nil {
		return nil
	}
	prints := make([]uint64, len(entries))
	for i, e := range entries {
		prints[i] = w.known.of(Escape(e.path), plainStat(e), w.owners.users[e.stat.UID], w.owners.groups[e.stat.GID])
	}
	return prints
}

// plainStat is the part of an entry's stat that its record tells again.
func plainStat(e entry) Stat {
	s := e.stat
	if unstable(e.path) {
		s.Size, s.Mtime, s.Ctime = 0, 0, 0
	}
	return s
}

// walkAll lists folders until none is left.
func (w *walk) walkAll(ctx context.Context) {
	w.folded.L = &w.mu
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.folded.Broadcast()
	})
	defer stop()
	parallel(func() {
		for dir, ok := w.next(ctx); ok; dir, ok = w.next(ctx) {
			w.list(dir)
			w.done()
		}
	})
}

// next takes a folder, waiting while others may still find some.
func (w *walk) next(ctx context.Context) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.dirs) == 0 && w.busy > 0 && ctx.Err() == nil {
		w.folded.Wait()
	}
	if len(w.dirs) == 0 || ctx.Err() != nil {
		return "", false
	}
	dir := w.dirs[len(w.dirs)-1]
	w.dirs = w.dirs[:len(w.dirs)-1]
	w.busy++
	return dir, true
}

func (w *walk) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	w.folded.Broadcast()
}

func (w *walk) list(dir string) {
	entries, err := w.src.list(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.out.Problem("files: %s: %v", dir, err)
	}
	w.meet(slices.DeleteFunc(entries, w.unfit)...)
}

// unfit reports whether an entry is left out: an echo, or a path that no program
// could open.
func (w *walk) unfit(e entry) bool {
	if len(e.path) > maxPath {
		w.out.Problem("files: %s: path of %d bytes left out, at most %d", cut(e.path, 80), len(e.path), maxPath)
		return true
	}
	return echo(e)
}

// readAll reads the files that the walk left over. Which of them have their text
// kept is decided in the order of paths, so that the same guest gives the same records.
func (w *walk) readAll(ctx context.Context) {
	slices.SortFunc(w.files, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	var b textBudget
	var h hashBudget
	for i := range w.files {
		e := &w.files[i]
		e.excess = h.spend(e.stat.Size, e.stat.Held)
		e.text = b.grants(e.path, e.stat.Size)
	}
	var next int
	parallel(func() {
		buf := make([]byte, 128<<10)
		for ctx.Err() == nil {
			w.mu.Lock()
			i := next
			next++
			w.mu.Unlock()
			if i >= len(w.files) {
				return
			}
			w.read(w.files[i], buf)
		}
	})
}

// read makes a regular file's record. A file that went away meanwhile is none.
func (w *walk) read(e entry, buf []byte) {
	r := w.record(e)
	old, ok := w.remembered[e.path]
	if !ok || old.stat != shape(e.stat) || old.asked != e.text {
		var err error
		if old, err = w.content(e, buf); errors.Is(err, fs.ErrNotExist) {
			return
		} else if err != nil {
			w.unread(r, e, err)
		}
	}
	old.tell(r.Attrs)
	if old.hashed {
		w.keep(e, old)
	}
	w.out.Add(r)
}

// observe makes the record of an entry that cannot go away, files included.
func (w *walk) observe(e entry, buf []byte) Record {
	r := w.record(e)
	if e.stat.Mode&typeMask == typeFile {
		m, err := w.content(e, buf)
		if err != nil {
			w.unread(r, e, err)
		}
		m.tell(r.Attrs)
	}
	return r
}

// unread notes why a file's content is not known. The inode's own time then tells
// that it changed: no program can set it, short of setting the clock.
func (w *walk) unread(r Record, e entry, why error) {
	r.Attrs["unread"], r.Attrs["changed"] = line(cause(why)), decimal(e.stat.Ctime)
}

// keep remembers a file for the next capture, unless it changed so lately that
// another change could leave the same time behind.
func (w *walk) keep(e entry, m remembered) {
	if w.fresh == nil || recent(e.stat.Ctime) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh[e.path] = m
}

// content hashes a file and reads what else only it tells.
func (w *walk) content(e entry, buf []byte) (remembered, error) {
	m := remembered{stat: shape(e.stat), asked: e.text, extra: w.xattrs(e.path)}
	if unstable(e.path) {
		return m, nil
	}
	if e.excess != nil {
		return m, e.excess
	}
	f, err := w.src.open(e.path)
	if err != nil {
		return m, err
	}
	defer f.Close()
	h := sha256.New()
	var text strings.Builder
	dst := io.Writer(h)
	if e.text {
		dst = io.MultiWriter(h, &text)
	}
	n, err := io.CopyBuffer(onlyWriter{dst}, io.LimitReader(f, hashLimit+1), buf)
	if err != nil {
		return m, err
	}
	if n > hashLimit {
		return m, fmt.Errorf("grows while it is read")
	}
	m.hashed = true
	h.Sum(m.sum[:0])
	if e.text && n <= textLimit(e.path) && isText(text.String()) {
		m.set("text", text.String())
	}
	return m, nil
}

// onlyWriter hides ReadFrom, so that CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

// record makes what can be told of an entry without reading a file's content.
func (w *walk) record(e entry) Record {
	a := inodeAttrs(e)
	setIf(a, "owner", w.owners.users[e.stat.UID])
	setIf(a, "group", w.owners.groups[e.stat.GID])
	if e.stat.Mode&typeMask != typeFile {
		for k, v := range w.xattrs(e.path) {
			a[k] = v
		}
	}
	return Record{Kind: File, Key: Escape(e.path), Attrs: a}
}

// inodeAttrs is what an entry's inode tells.
func inodeAttrs(e entry) map[string]string {
	s := plainStat(e)
	kind := s.Mode & typeMask
	a := make(map[string]string, 16)
	a["type"] = typeNames[kind]
	a["mode"] = octalMode(s.Mode & 0o7777)
	a["uid"], a["gid"] = decimal(s.UID), decimal(s.GID)
	a["ino"] = decimal(s.Ino)
	a["mtime"], a["ctime"] = decimal(s.Mtime), decimal(s.Ctime)
	switch kind {
	case typeFile:
		if !unstable(e.path) {
			a["size"] = decimal(s.Size)
		}
	case typeLink:
		a["target"] = Escape(e.target)
	case typeChar, typeBlock:
		a["rdev"] = fmt.Sprintf("%d:%d", major(s.Rdev), minor(s.Rdev))
	}
	return a
}

// octalMode writes permission bits with four digits, as everybody reads them.
func octalMode(bits uint32) string {
	return string([]byte{'0' + byte(bits>>9&7), '0' + byte(bits>>6&7), '0' + byte(bits>>3&7), '0' + byte(bits&7)})
}

func setIf(a map[string]string, name, value string) {
	if value != "" {
		a[name] = value
	}
}

// major and minor take a device number apart as the kernel packs it.
func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^0xfff }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&^0xff }

// The texts that are kept, so that a diff can show them.
const (
	maxText   = 64 << 10 // bytes of one file
	maxList   = 4 << 20  // bytes of a package's list of files
	textTotal = 16 << 20 // bytes of all texts, and again of all lists
)

// textBudget is how much text a walk has promised to keep.
type textBudget struct{ texts, lists int64 }

// grants reports whether a file's text is to be kept, and counts it.
func (b *textBudget) grants(p string, size int64) bool {
	spent := &b.texts
	if ownerList(p) {
		spent = &b.lists
	}
	if !keepsText(p, size) || *spent+size > textTotal {
		return false
	}
	*spent += size
	return true
}

var textRoots = []string{"/etc/", "/home/", "/root/", "/usr/local/", "/opt/", "/srv/", "/var/log/", "/var/spool/", "/tmp/"}

// keepsText reports whether a file's text belongs into its record: the small ones
// of the places that people and installers edit, and dpkg's lists of files, which
// tell what belongs to which package. What holds secrets does not.
func keepsText(p string, size int64) bool {
	if size > textLimit(p) || size == 0 || secret(p) {
		return false
	}
	return ownerList(p) || slices.ContainsFunc(textRoots, func(root string) bool { return strings.HasPrefix(p, root) })
}

func textLimit(p string) int64 {
	if ownerList(p) {
		return maxList
	}
	return maxText
}

// ownerList reports whether p is dpkg's list of a package's files.
func ownerList(p string) bool {
	return strings.HasPrefix(p, dpkgInfo) && strings.HasSuffix(p, ".list")
}

// secret reports whether a file holds passwords or private keys by its name.
func secret(p string) bool {
	base := strings.TrimSuffix(path.Base(p), "-")
	switch {
	case base == "shadow", base == "gshadow", strings.HasPrefix(p, "/etc/ssl/private/"):
		return true
	case strings.HasPrefix(base, "ssh_host_") && !strings.HasSuffix(base, ".pub"):
		return true
	}
	return strings.Contains(p, "/.ssh/id_") && !strings.HasSuffix(base, ".pub")
}

// isText reports whether a file's content is text, and not a private key.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsRune(s, 0) && !strings.Contains(s, "PRIVATE KEY-----")
}

// owners maps ids to names.
type owners struct{ users, groups map[uint32]string }

func readOwners(src Source) owners {
	return owners{idNames(src, "/etc/passwd"), idNames(src, "/etc/group")}
}

// idNames reads the third field of each line, and the first: the first name that
// an id has counts.
func idNames(src Source, file string) map[uint32]string {
	ids := map[uint32]string{}
	data, _ := src.ReadFile(file, 4<<20)
	for l := range strings.Lines(string(data)) {
		f := strings.Split(l, ":")
		if len(f) < 3 {
			continue
		}
		id, err := strconv.ParseUint(f[2], 10, 32)
		if _, dup := ids[uint32(id)]; err == nil && !dup {
			ids[uint32(id)] = line(f[0])
		}
	}
	return ids
}
