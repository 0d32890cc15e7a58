package drivertest

import (
	"strings"

	"assay/guest"
	"assay/vm"
)

// say writes a word where a guest has its disk and where it has its memory.
func (e *env) say(c *guest.Client, word string) {
	e.Helper()
	line := "mkdir -p /run/assay-test && echo " + word + " >/tmp/disk && echo " + word + " >/run/assay-test/memory && sync"
	exit, err := c.Exec(e.ctx, guest.Command{Shell: line, User: "root"}, nil, nil, nil)
	if err != nil || exit.Code != 0 {
		e.Fatalf("%s: got exit %d, %v, want 0", line, exit.Code, err)
	}
}

// says fails unless the guest's disk and memory both have the word.
func (e *env) says(c *guest.Client, word string) {
	e.Helper()
	if got := strings.Fields(e.sh(c, "cat /tmp/disk; cat /run/assay-test/memory")); len(got) != 2 || got[0] != word || got[1] != word {
		e.Errorf("got %q, want %s on the disk and in memory", got, word)
	}
}

// save takes a snapshot of m and dials it again.
func (e *env) save(m vm.Machine, name string) *guest.Client {
	e.Helper()
	e.must(ability[vm.Snapshotter](e, m).Snapshot(e.ctx, name))
	return e.dial(m)
}

// restoreRestored proves that a restored machine can be saved again, and that
// either snapshot is still what it was.
func restoreRestored(e *env) {
	s := ability[vm.Snapshotter](e, e.m)
	e.say(e.c, "one")
	e.c = e.save(e.m, "one")
	e.say(e.c, "lost")
	e.must(s.Restore(e.ctx, "one"))
	e.c = e.dial(e.m)
	e.says(e.c, "one")
	e.say(e.c, "two")
	e.c = e.save(e.m, "two")
	e.say(e.c, "lost")
	for _, name := range []string{"one", "two", "one"} {
		e.must(s.Restore(e.ctx, name))
		e.c = e.dial(e.m)
		e.says(e.c, name)
	}
}

// forkOfAFork proves that what a fork saved is the fork's own, whatever its
// parent does, and that more than one machine can come of it.
func forkOfAFork(e *env) {
	e.say(e.c, "parent")
	e.c = e.save(e.m, "parent")
	child, c := e.fork("parent", "child")
	e.says(c, "parent")
	e.say(c, "child")
	c = e.save(child, "child")
	e.say(c, "later")
	e.must(ability[vm.Snapshotter](e, e.m).Restore(e.ctx, "parent"))
	for _, name := range []string{"first", "second"} {
		m, err := ability[vm.Forker](e, child).Fork(e.ctx, "child", e.spec(name))
		e.must(err)
		e.closes(m)
		grandchild := e.dial(m)
		e.says(grandchild, "child")
		e.say(grandchild, name)
	}
	e.says(c, "later")
	e.says(e.dial(e.m), "parent")
}
