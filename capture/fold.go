package capture

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"assay"
)

// A Line is one or more changes as people read them.
type Line struct {
	Kind  string
	Op    assay.Op // Modified where a line stands for changes of several ops
	Text  string   // "/tmp/skill-temp-*.log (3 files, 45KB total)", "package jq (+12 files)"
	Group string   // of the changes; empty for none
	Count int      // changes that it stands for
	Bytes int64    // size of the files that it stands for, as they are now
}

// Fold makes display lines: the changes of one group are one line, so are the
// files of a new folder and files whose names differ in one place. Lines are in the
// order of kind, group, op, text.
func Fold(changes []assay.Change) []Line {
	var out []Line
	grouped := map[string][]assay.Change{}
	var added, single []assay.Change
	for _, c := range changes {
		switch {
		case c.Group != "":
			grouped[c.Kind+"\x00"+c.Group] = append(grouped[c.Kind+"\x00"+c.Group], c)
		case c.Kind == File && c.Op == assay.Added:
			added = append(added, c)
		default:
			single = append(single, c)
		}
	}
	for _, g := range grouped {
		out = append(out, groupLine(g))
	}
	out = append(out, foldAdded(added)...)
	out = append(out, foldNames(single)...)
	slices.SortFunc(out, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Text, b.Text))
	})
	return out
}

// groupLine is "package jq (+12 files, ~1)", "/opt/x/ (2000 files, 12MB)".
func groupLine(g []assay.Change) Line {
	l := Line{Kind: g[0].Kind, Op: g[0].Op, Group: g[0].Group, Count: len(g)}
	n := map[assay.Op]int{}
	for _, c := range g {
		l.Bytes += size(c)
		if !isDir(c) {
			n[c.Op]++
		}
		if c.Op != l.Op {
			l.Op = assay.Modified
		}
	}
	if tree, ok := strings.CutPrefix(l.Group, "tree "); ok {
		l.Text = fmt.Sprintf("%s/ (%s, %s)", tree, plural(n[assay.Added], "file"), bytesText(l.Bytes))
		return l
	}
	l.Text = fmt.Sprintf("%s (%s)", l.Group, tally(n, l))
	return l
}

// tally is "+12 files, ~1, -2"; where only folders changed, their number.
func tally(n map[assay.Op]int, l Line) string {
	var parts []string
	for _, o := range []struct {
		op   assay.Op
		sign string
	}{{assay.Added, "+"}, {assay.Modified, "~"}, {assay.Removed, "-"}} {
		switch {
		case n[o.op] == 0:
		case len(parts) == 0:
			parts = append(parts, o.sign+plural(n[o.op], l.Kind))
		default:
			parts = append(parts, fmt.Sprint(o.sign, n[o.op]))
		}
	}
	if len(parts) == 0 {
		return plural(l.Count, "folder")
	}
	return strings.Join(parts, ", ")
}

// foldAdded folds new files into the new folders that they lie in.
func foldAdded(added []assay.Change) []Line {
	made := map[string]*folder{}
	for _, c := range added {
		if isDir(c) {
			made[c.Key] = &folder{own: c}
		}
	}
	var loose []assay.Change
	for _, c := range added {
		parent, inNew := made[path.Dir(c.Key)]
		switch {
		case isDir(c) && inNew:
			parent.folders = append(parent.folders, made[c.Key])
		case isDir(c): // shown by itself below
		case inNew:
			parent.files = append(parent.files, c)
		default:
			loose = append(loose, c)
		}
	}
	out := foldNames(loose)
	for _, c := range added {
		if _, inNew := made[path.Dir(c.Key)]; isDir(c) && !inNew {
			out = append(out, made[c.Key].lines()...)
		}
	}
	return out
}

// folder is a new folder and what is new in it.
type folder struct {
	own     assay.Change
	files   []assay.Change
	folders []*folder
}

// A folder with that many files of its own is one line.
const foldFiles = 3

func (f *folder) lines() []Line {
	l := Line{Kind: File, Op: assay.Added}
	f.count(&l)
	files := f.total()
	switch {
	case files == 0:
		l.Text = f.own.Key + "/"
		return []Line{l}
	case len(f.files) >= foldFiles || files > treeSize:
		l.Text = fmt.Sprintf("%s/ (%s, %s)", f.own.Key, plural(files, "file"), bytesText(l.Bytes))
		return []Line{l}
	}
	var out []Line
	for _, c := range f.files {
		out = append(out, oneLine(c))
	}
	for _, sub := range f.folders {
		out = append(out, sub.lines()...)
	}
	out[0].Count++ // the folder itself
	return out
}

func (f *folder) count(l *Line) {
	l.Count += 1 + len(f.files)
	for _, c := range f.files {
		l.Bytes += size(c)
	}
	for _, sub := range f.folders {
		sub.count(l)
	}
}

func (f *folder) total() int {
	n := len(f.files)
	for _, sub := range f.folders {
		n += sub.total()
	}
	return n
}

// foldNames folds neighbours whose paths differ in one place: three or more files
// of one folder with a common start and the same ending.
func foldNames(changes []assay.Change) []Line {
	var out []Line
	for len(changes) > 0 {
		n, prefix, suffix := alike(changes)
		if n < foldFiles {
			out = append(out, oneLine(changes[0]))
			changes = changes[1:]
			continue
		}
		l := Line{Kind: File, Op: changes[0].Op, Count: n}
		for _, c := range changes[:n] {
			l.Bytes += size(c)
		}
		l.Text = fmt.Sprintf("%s*%s (%s, %s total)", prefix, suffix, plural(n, "file"), bytesText(l.Bytes))
		out = append(out, l)
		changes = changes[n:]
	}
	return out
}

// alike returns how many changes from the first on are one pattern, and its parts.
func alike(changes []assay.Change) (n int, prefix, suffix string) {
	first := changes[0]
	if first.Kind != File || isDir(first) {
		return 1, "", ""
	}
	dir, name := path.Split(first.Key)
	ext := path.Ext(name)
	prefix = name
	for n = 1; n < len(changes); n++ {
		c := changes[n]
		d, base := path.Split(c.Key)
		if c.Kind != File || c.Op != first.Op || isDir(c) || d != dir || path.Ext(base) != ext && !randomEnds(ext, path.Ext(base)) {
			break
		}
		p := common(prefix, base)
		if len(p) < 4 || len(p)*2 < len(strings.TrimSuffix(base, ext)) {
			break
		}
		if prefix = p; path.Ext(base) != ext {
			suffix = "-"
		}
	}
	if suffix == "-" {
		return n, dir + prefix, ""
	}
	return n, dir + strings.TrimSuffix(prefix, ext), ext
}

// randomEnds reports whether two endings are what mktemp makes of ".XXXXXX".
func randomEnds(a, b string) bool { return len(a) == len(b) && len(a) >= 7 }

func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return strings.ToValidUTF8(a[:n], "")
}

// oneLine is one change as a line: its key, and what tells most about it.
func oneLine(c assay.Change) Line {
	l := Line{Kind: c.Kind, Op: c.Op, Text: c.Key, Group: c.Group, Count: 1, Bytes: size(c)}
	switch {
	case c.Op == assay.Modified:
		l.Text += " (" + strings.Join(c.Fields, ", ") + ")"
	case c.Kind == Package:
		l.Text += " (" + attr(c, "version") + ")"
	case isDir(c):
		l.Text += "/"
	case c.Kind == File && attr(c, "type") == "link":
		l.Text += " → " + attr(c, "target")
	case c.Kind == File && attr(c, "type") == "file" && c.Op == assay.Added:
		l.Text += " (" + bytesText(l.Bytes) + ")"
	}
	return l
}

func isDir(c assay.Change) bool { return c.Kind == File && attr(c, "type") == "dir" }

// attr returns an attribute as it is now, or as it was in a record that is gone.
func attr(c assay.Change, name string) string {
	if c.Op == assay.Removed {
		return c.Before[name]
	}
	return c.After[name]
}

func size(c assay.Change) int64 {
	if c.Kind != File || c.Op == assay.Removed {
		return 0
	}
	n, _ := strconv.ParseInt(c.After["size"], 10, 64)
	return n
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// bytesText is a size as the report shows it: "120KB".
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%dB", n)
	}
	v, units := float64(n)/unit, "KMGTPE"
	for v >= unit && len(units) > 1 {
		v, units = v/unit, units[1:]
	}
	if v < 10 && v != float64(int64(v)) {
		return fmt.Sprintf("%.1f%cB", v, units[0])
	}
	return fmt.Sprintf("%.0f%cB", v, units[0])
}
