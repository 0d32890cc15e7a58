package capture

import (
	"slices"
	"strconv"
	"strings"

	"assay"
)

// explains reports whether the sightings of a change explain all of c: every
// attribute that differs differs in them too, and has a value that could have
// come about by itself.
func explains(seen []sighting, c assay.Change) bool {
	e := evidence{seen, c}
	for _, f := range fieldsOf(c) {
		if !e.explains(f) {
			return false
		}
	}
	return true
}

// fieldsOf returns the attributes that a change is about.
func fieldsOf(c assay.Change) []string {
	if c.Op == assay.Modified {
		return c.Fields
	}
	names := fields(now(c))
	return slices.DeleteFunc(names, func(f string) bool { return volatile[c.Kind][f] || hidden[c.Kind][f] })
}

// now returns the attributes of the record as it is, or as it last was.
func now(c assay.Change) map[string]string {
	if c.Op == assay.Removed {
		return c.Before
	}
	return c.After
}

// evidence is what placebos saw, against a change.
type evidence struct {
	seen []sighting
	assay.Change
}

func (e evidence) explains(field string) bool {
	if !e.differed(field) {
		return false
	}
	value := now(e.Change)[field]
	switch {
	case e.saw(field, func(v string) bool { return v == value }):
		return true
	case e.Kind == File && (field == "sha256" || field == "size"):
		return e.content()
	case levelled[e.Kind][field]:
		want := levelKey(value)
		return e.saw(field, func(v string) bool { return levelKey(v) == want })
	case e.Kind == Journal && field == "message":
		want := level(value)
		return e.saw(field, func(v string) bool { return level(v) == want })
	case e.Kind == Sysctl && field == "value":
		return e.varies(field) && isNumbers(value) && !e.saw(field, func(v string) bool { return !isNumbers(v) })
	}
	return false
}

// levelled are the attributes that hold names which may be made up anew each time.
var levelled = map[string]map[string]bool{
	File:     {"target": true},
	Process:  {"cmdline": true, "cgroup": true},
	Listener: {"process": true},
	Mount:    {"source": true},
}

// differed reports whether an attribute was part of a change that placebos saw.
func (e evidence) differed(field string) bool {
	return e.Op != assay.Modified || slices.ContainsFunc(e.seen, func(s sighting) bool { return slices.Contains(s.Fields, field) })
}

// saw reports whether a placebo saw a value for which ok holds.
func (e evidence) saw(field string, ok func(string) bool) bool {
	return slices.ContainsFunc(e.seen, func(s sighting) bool { return ok(now(s.Change)[field]) })
}

// varies reports whether an attribute had another value in each placebo that saw
// it, and at least two did: then its value says nothing.
func (e evidence) varies(field string) bool {
	values := map[string]bool{}
	n := 0
	for _, s := range e.seen {
		if s.Op != assay.Modified || slices.Contains(s.Fields, field) {
			values[now(s.Change)[field]] = true
			n++
		}
	}
	return n >= 2 && len(values) == n
}

func isNumbers(s string) bool {
	return s != "" && strings.Trim(s, "0123456789-. \t") == ""
}

// content reports whether a file's new content could have come about by itself.
func (e evidence) content() bool {
	if e.Text != "" {
		return e.lines()
	}
	return volatilePlace(e.Key) && !executable(now(e.Change)) && e.varies("sha256") && e.grew()
}

// lines reports whether a text differs by lines only that placebos put in or
// took out as well. A diff that was cut proves nothing.
func (e evidence) lines() bool {
	edits, whole := editsOf(e.Text)
	if !whole {
		return false
	}
	seen := map[string]bool{}
	for _, s := range e.seen {
		known, _ := editsOf(s.Text)
		for l := range known {
			seen[l] = true
		}
	}
	for l := range edits {
		if !seen[l] {
			return false
		}
	}
	return true
}

// editsOf returns the lines that a text diff puts in and takes out, each with its
// sign and levelled out, and whether these are all.
func editsOf(text string) (edits map[string]bool, whole bool) {
	edits, whole = map[string]bool{}, true
	for i, l := range strings.Split(text, "\n") {
		switch {
		case i < 2 || l == "": // the names
		case l[0] == '+' || l[0] == '-':
			whole = whole && len(l) < maxShown
			edits[l[:1]+levelLine(l[1:])] = true
		case l[0] != ' ' && l[0] != '@' && l[0] != '\\':
			whole = false
		}
	}
	return edits, whole
}

// volatilePlace reports whether a program keeps its own data at p: elsewhere, an
// unreadable content is only noise if it is the very same.
func volatilePlace(p string) bool {
	return slices.ContainsFunc([]string{"/var/", "/run/", "/tmp/", "/dev/"}, func(root string) bool { return strings.HasPrefix(p, root) })
}

// executable reports whether a file may be run; what says nothing of it may.
func executable(a map[string]string) bool {
	mode, err := strconv.ParseUint(a["mode"], 8, 32)
	return err != nil || mode&0o111 != 0 || a["type"] != "file" || a["capabilities"] != ""
}

// grew reports whether a file grew by as much as in placebos. In a log that is
// too large to be read that says nothing: lines are alike in size.
func (e evidence) grew() bool {
	least, most := int64(0), int64(0)
	for i, s := range e.seen {
		g := growth(s.Change)
		if i == 0 {
			least, most = g, g
		}
		least, most = min(least, g), max(most, g)
	}
	g := growth(e.Change)
	if g != 0 && strings.HasPrefix(e.Key, "/var/log/") && sizeOf(e.After) > maxText {
		return false
	}
	return least <= g && g <= most
}

func growth(c assay.Change) int64 { return sizeOf(c.After) - sizeOf(c.Before) }

func sizeOf(a map[string]string) int64 {
	n, _ := strconv.ParseInt(a["size"], 10, 64)
	return n
}
