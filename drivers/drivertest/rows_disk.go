package drivertest

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"

	"assay/vm"
)

// mark proves that marks freeze what the guest has flushed, that what it writes
// later goes elsewhere, that the line stays, and that names stand for content:
// over a restore, and in a fork.
func mark(e *env) {
	first, second := rand.Text(), rand.Text()
	e.plant(first)
	one := e.mark(e.m)
	e.plant(second)
	if !holds(e, one, first) || holds(e, one, second) {
		e.Errorf("the first mark: want what was flushed before it, and nothing else")
	}
	two := e.mark(e.m)
	if !holds(e, two, first) || !holds(e, two, second) {
		e.Errorf("the second mark lacks what was flushed before it")
	}
	if len(two) <= len(one) || !slices.Equal(names(two[:len(one)]), names(one)) {
		e.Errorf("the second mark: got %q, want %q and more", names(two), names(one))
	}
}

// markOfFork proves the same of machines that share a past.
func markOfFork(e *env) {
	e.base()
	before := names(e.mark(e.m))
	child, _ := e.fork("base", "child")
	theirs := names(e.mark(child))
	if common := shared(before, theirs); common == 0 || common == len(theirs) {
		e.Errorf("parent %q, fork %q: want a common past and a layer of the fork's own", before, theirs)
	}
	e.must(ability[vm.Snapshotter](e, e.m).Restore(e.ctx, "base"))
	e.c = e.dial(e.m)
	again := names(e.mark(e.m))
	if common := shared(before, again); common != shared(before, theirs) || common == len(again) {
		e.Errorf("before %q, after the restore %q: want the snapshot's layers and a new one", before, again)
	}
}

// plant writes a word that the test knows to the guest's disk. Two thousand of
// them are a whole block, which no file system packs elsewhere.
func (e *env) plant(word string) {
	e.Helper()
	e.sh(e.c, "for i in $(seq 2000); do echo "+word+"; done >~/"+word+" && sync")
}

func (e *env) mark(m vm.Machine) []vm.Layer {
	e.Helper()
	layers, err := ability[vm.Disker](e, m).Mark(e.ctx)
	e.must(err)
	for _, l := range layers {
		if l.ID == "" || !filepath.IsAbs(l.Path) || l.Format == "" {
			e.Errorf("got the layer %+v, want an id, an absolute path and a format", l)
		}
	}
	if e.c.Err() != nil {
		e.Errorf("the mark cut the line: %v", e.c.Err())
	}
	return layers
}

// holds reports whether a word lies in a layer that belongs to the machines, and
// not to their image.
func holds(e *env, layers []vm.Layer, word string) bool {
	e.Helper()
	for _, l := range layers[1:] {
		data, err := os.ReadFile(l.Path)
		e.must(err)
		if bytes.Contains(data, []byte(word+"\n"+word)) {
			return true
		}
	}
	return false
}

func names(layers []vm.Layer) []string {
	var ids []string
	for _, l := range layers {
		ids = append(ids, l.ID)
	}
	return ids
}

// shared returns how many names two lists begin with alike.
func shared(a, b []string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
