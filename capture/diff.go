package capture

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
)

// DiffOptions says what a diff leaves out.
type DiffOptions struct {
	Ignore []string // doublestar globs over keys, or over kind:key ("process:tester: sleep*")
}

// Diff returns what changed from before to after, sorted by kind and key, and how
// many changes the globs left out. Attributes that change by themselves, such as
// a process's pid, are not compared. Text is set for small text files, Group where
// a change is part of a larger one. What only an agent tells is not compared with
// a capture that none took part in.
//
// It fails for captures of different collectors, and for a glob that is none.
func Diff(before, after Capture, opt DiffOptions) (changes []assay.Change, ignored int, err error) {
	if before.Version != after.Version {
		return nil, 0, fmt.Errorf("diff: collector versions are %d and %d, want the same; capture again", before.Version, after.Version)
	}
	for _, g := range opt.Ignore {
		if !doublestar.ValidatePattern(g) {
			return nil, 0, fmt.Errorf("diff: glob %q is malformed", g)
		}
	}
	hush := hushOf(before, after)
	pairs(before.Records, after.Records, func(b, a *Record) {
		c, changed := compare(b, a)
		switch {
		case !changed, hush.untold(c), untoldLocks(&c, before, after):
		case ignores(opt.Ignore, c):
			ignored++
		default:
			changes = append(changes, c)
		}
	})
	group(changes, before, after)
	return changes, ignored, nil
}

func ignores(globs []string, c assay.Change) bool {
	return slices.ContainsFunc(globs, func(g string) bool {
		return doublestar.MatchUnvalidated(g, c.Key) || doublestar.MatchUnvalidated(g, c.Kind+":"+c.Key)
	})
}

// pairs walks two sorted lists and gives fn what they hold of each key; one side
// is nil where only the other has it.
func pairs(before, after []Record, fn func(b, a *Record)) {
	for len(before) > 0 || len(after) > 0 {
		order := 0
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		default:
			order = compareKeys(before[0], after[0])
		}
		var b, a *Record
		if order <= 0 {
			b, before = &before[0], before[1:]
		}
		if order >= 0 {
			a, after = &after[0], after[1:]
		}
		fn(b, a)
	}
}

// compare makes the change between two records of one key; either may be nil.
func compare(b, a *Record) (assay.Change, bool) {
	r := cmp.Or(a, b)
	c := assay.Change{Kind: r.Kind, Key: r.Key}
	switch {
	case b == nil:
		c.Op, c.After = assay.Added, shown(a)
	case a == nil:
		c.Op, c.Before = assay.Removed, shown(b)
	default:
		c.Fields = differing(*b, *a)
		if len(c.Fields) == 0 {
			return c, false
		}
		c.Op, c.Before, c.After = assay.Modified, shown(b), shown(a)
	}
	c.Text = textDiff(b, a)
	return c, true
}

// differing returns the compared attributes that are not equal, sorted.
func differing(b, a Record) []string {
	if reflect.ValueOf(b.Attrs).Pointer() == reflect.ValueOf(a.Attrs).Pointer() {
		return nil // one manifest gave both
	}
	var names []string
	skip, hide := volatile[a.Kind], hidden[a.Kind]
	for k, v := range a.Attrs {
		if w, ok := b.Attrs[k]; (!ok || v != w) && !skip[k] && !hide[k] && !vouching(k) {
			names = append(names, k)
		}
	}
	for k := range b.Attrs {
		if _, ok := a.Attrs[k]; !ok && !skip[k] && !hide[k] && !vouching(k) {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	return names
}

// shown returns the attributes that a Change carries.
func shown(r *Record) map[string]string {
	m := maps.Clone(r.Attrs)
	for k := range hidden[r.Kind] {
		delete(m, k)
	}
	delete(m, "sums")
	return m
}

// textDiff returns the unified diff of a file whose text both captures, or the
// only one that has it, hold.
func textDiff(b, a *Record) string {
	before, hadText := textOf(b)
	after, hasText := textOf(a)
	if !hadText || !hasText || before == after {
		return ""
	}
	return unified(side("a", b), side("b", a), before, after)
}

// side names one side of a text diff.
func side(letter string, r *Record) string {
	if r == nil {
		return "/dev/null"
	}
	return letter + strings.TrimPrefix(r.Key, HiddenPrefix)
}

// textOf returns a record's text; a missing record has an empty one.
func textOf(r *Record) (string, bool) {
	if r == nil {
		return "", true
	}
	if r.Kind != File || ownerList(r.Key) {
		return "", false
	}
	t, ok := r.Attrs["text"]
	return t, ok || r.Attrs["size"] == "0"
}
