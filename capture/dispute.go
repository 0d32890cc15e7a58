package capture

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"assay/guest"
	"assay/vm"
)

// A dispute is a path of which guest and disk tell otherwise.
type dispute struct {
	path  string
	words string            // what the record says of it
	guest map[string]string // the guest's testimony; nil: the disk has the path
}

// dispute asks the agent about what is new on the disk. Where it tells otherwise
// than the disk, both are asked once more while the disk stands still; what they
// differ in then gets the attribute disputed, among records.
func (t *hostTake) dispute(ctx context.Context, r *reading, mounted mountPoints, records []Record) []Record {
	paths := r.questions(mounted)
	if len(paths) == 0 || t.c == nil {
		return records
	}
	answers, err := question(ctx, t.c.Call, paths)
	if err != nil {
		t.out.Problem("capture: the guest does not say what it sees: %v", err)
		return records
	}
	var suspects []string
	for _, p := range paths {
		suspects = append(suspects, r.suspects(p, answers[Escape(p)])...)
	}
	suspects = slices.DeleteFunc(sortedOnce(suspects), func(p string) bool {
		point, _ := mounted.over(p)
		return point != "" || unstable(p)
	})
	if len(suspects) == 0 {
		return records
	}
	found, err := t.recheck(ctx, suspects[:min(len(suspects), maxQuestions)])
	if err != nil {
		t.out.Problem("capture: %d files of which the guest and its disk tell otherwise were not looked at again: %v", len(suspects), err)
	}
	return markDisputed(records, found)
}

func sortedOnce(paths []string) []string {
	slices.Sort(paths)
	return slices.Compact(paths)
}

// questions are the paths to ask about: those that are new to the host, as far as
// the guest can see them, and the folders that they are in, where a name may be
// made up.
func (r *reading) questions(mounted mountPoints) []string {
	var paths, folders []string
	for _, p := range r.fresh {
		if point, _ := mounted.over(p); point == "" && !unstable(p) && len(paths) < maxQuestions {
			paths = append(paths, p)
			folders = append(folders, parent(p))
		}
	}
	folders = slices.DeleteFunc(sortedOnce(folders), func(p string) bool {
		_, asked := slices.BinarySearch(paths, p)
		return asked
	})
	return append(paths, folders[:min(len(folders), maxQuestions-len(paths))]...)
}

// suspects returns the paths of which the guest's word on p does not fit the
// disk: p, or names in it.
func (r *reading) suspects(p string, said map[string]string) []string {
	e, err := r.entryAt(p)
	if err != nil {
		return nil
	}
	if differ(e, said) != "" && !changedSince(e, said) {
		return []string{p}
	}
	names, listed := said["names"]
	if e.stat.Mode&typeMask != typeDir || !listed {
		return nil
	}
	return r.oddNames(p, names)
}

// entryAt is what the disk has at a path.
func (r *reading) entryAt(p string) (entry, error) {
	st, err := r.Lstat(p)
	if err != nil {
		return entry{}, err
	}
	return entry{path: p, stat: st, target: source{r.onDisk}.target(p, st)}, nil
}

// sworn are the attributes of a testimony that must be the disk's own.
var sworn = []string{"type", "ino", "mode", "uid", "gid", "size", "target", "rdev"}

// differ says in which words the guest contradicts the disk; empty if it does not.
func differ(e entry, said map[string]string) string {
	switch {
	case said == nil:
		return "the guest says nothing"
	case said["missing"] != "":
		return "the guest says: no such file"
	case said["error"] != "" && said["type"] == "":
		return "the guest says: " + cut(Escape(said["error"]), 200)
	}
	var parts []string
	truth := inodeAttrs(e)
	for _, name := range sworn {
		if truth[name] != said[name] {
			parts = append(parts, name+" "+cut(cmp.Or(said[name], "none"), 200))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "the guest says: " + strings.Join(parts, ", ")
}

// changedSince reports whether the guest may be right, because a file changed
// after its disk was frozen. One that is gone, or another one, is looked at again.
func changedSince(e entry, said map[string]string) bool {
	ctime, err := strconv.ParseInt(said["ctime"], 10, 64)
	return err == nil && ctime > e.stat.Ctime && said["type"] == typeNames[e.stat.Mode&typeMask] && said["ino"] == decimal(e.stat.Ino)
}

// oddNames returns the paths below a folder that only one of both sides lists.
func (r *reading) oddNames(dir, names string) []string {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	said := map[string]bool{}
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "/"), "/") {
		if raw, err := Unescape(name); err == nil && raw != "" {
			said[raw] = true
		}
	}
	var odd []string
	entries, _ := r.ReadDir(dir)
	for _, e := range entries {
		if !said[e.Name()] {
			odd = append(odd, prefix+e.Name())
		}
		delete(said, e.Name())
	}
	for name := range said {
		odd = append(odd, prefix+name)
	}
	return odd
}

// recheck asks both sides once more, the guest while its disk stands still. Where
// it does not stand still, only what cannot have changed meanwhile is disputed.
func (t *hostTake) recheck(ctx context.Context, paths []string) ([]dispute, error) {
	ask := paths
	for _, p := range paths {
		ask = append(ask, parent(p))
	}
	ask = sortedOnce(slices.Clone(ask))
	var answers map[string]map[string]string
	again := &hostTake{host: t.host, disker: t.disker, c: t.c, opt: t.opt, out: newSink(func(Record) {})}
	again.during = func(ctx context.Context) (err error) {
		answers, err = question(ctx, t.c.Call, ask)
		return err
	}
	layers, err := again.mark(ctx)
	if err != nil {
		return nil, err
	}
	r, err := t.host.glance(ctx, layers, again.out)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var found []dispute
	for _, p := range paths {
		if d, ok := r.judge(p, answers, again.still); ok {
			found = append(found, d)
		}
	}
	return found, nil
}

func parent(p string) string { return p[:max(1, strings.LastIndexByte(p, '/'))] }

// judge compares what both say of a path in the end.
func (r *reading) judge(p string, answers map[string]map[string]string, still guest.Stillness) (dispute, bool) {
	said := answers[Escape(p)]
	e, err := r.entryAt(p)
	if err != nil && !missing(err) {
		return dispute{}, false
	}
	if !still.Frozen && !r.unmoved(parent(p), answers[Escape(parent(p))]) {
		return dispute{}, false // it may have come or gone meanwhile
	}
	if err != nil {
		return dispute{p, "the disk says: no such file", said}, said["type"] != ""
	}
	if !still.Frozen && changedSince(e, said) {
		return dispute{}, false
	}
	words := differ(e, said)
	return dispute{p, words, nil}, words != ""
}

// unmoved reports whether a folder is in the guest what it is on the disk, so that
// nothing in it came or went.
func (r *reading) unmoved(dir string, said map[string]string) bool {
	st, err := r.Lstat(dir)
	return err == nil && said["ctime"] == decimal(st.Ctime) && said["mtime"] == decimal(st.Mtime)
}

// markDisputed marks records. A path that only the guest shows becomes one.
func markDisputed(records []Record, found []dispute) []Record {
	words := map[string]dispute{}
	for _, d := range found {
		words[Escape(d.path)] = d
	}
	for i, r := range records {
		d, ok := words[r.Key]
		if r.Kind != File || !ok {
			continue
		}
		attrs := maps.Clone(r.Attrs)
		attrs["disputed"] = d.words
		records[i].Attrs = attrs
		delete(words, r.Key)
	}
	for key, d := range words {
		if d.guest == nil {
			continue
		}
		attrs := map[string]string{"disputed": d.words}
		for _, name := range slices.Concat(sworn, []string{"mtime", "ctime"}) {
			setIf(attrs, name, line(d.guest[name]))
		}
		records = append(records, Record{File, key, attrs})
	}
	return records
}

// glance reads the folders of a disk, and remembers nothing.
func (h *Host) glance(ctx context.Context, layers []vm.Layer, out *Sink) (*reading, error) {
	d, err := openLayers(layers)
	if err != nil {
		return nil, err
	}
	_, fsys, err := findRoot(d)
	if err == nil {
		var tree *onDisk
		if tree, _, err = readDisk(ctx, fsys, out); err == nil {
			return &reading{onDisk: tree, disk: d}, nil
		}
	}
	d.Close()
	return nil, fmt.Errorf("disk: %w", err)
}
