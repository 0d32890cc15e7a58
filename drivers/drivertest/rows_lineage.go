package drivertest

import (
	"slices"
	"strings"

	"assay/guest"
	"assay/vm"
)

// say writes a word where a guest has its disk and where it has its memory.
func (e *env) say(c *guest.Client, word string) {
	e.Helper()
	e.root(c, "mkdir -p /run/assay-test /var/lib/assay-test && echo "+word+" >/var/lib/assay-test/disk && echo "+word+" >/run/assay-test/memory && sync")
}

// root runs a line of shell as root; it must exit with 0.
func (e *env) root(c *guest.Client, line string) {
	e.Helper()
	exit, err := c.Exec(e.ctx, guest.Command{Shell: line, User: "root"}, nil, nil, nil)
	if err != nil || exit.Code != 0 {
		e.Fatalf("%s: got exit %d, %v, want 0", line, exit.Code, err)
	}
}

// says fails unless the guest's disk has the word, and its memory, if snapshots
// have it.
func (e *env) says(c *guest.Client, word string) {
	e.Helper()
	e.saysAt(c, word, slices.Contains(e.info.Capabilities, vm.CapMemory))
}

// forkSays is says for a fork that nobody wrote to, which may have booted.
func (e *env) forkSays(c *guest.Client, word string) {
	e.Helper()
	_, cold := vm.As[vm.ColdForker](e.m)
	e.saysAt(c, word, cold != nil && slices.Contains(e.info.Capabilities, vm.CapMemory))
}

func (e *env) saysAt(c *guest.Client, word string, memory bool) {
	e.Helper()
	places := []string{"/var/lib/assay-test/disk"}
	if memory {
		places = append(places, "/run/assay-test/memory")
	}
	for _, place := range places {
		if got := strings.TrimSpace(e.sh(c, "cat "+place+" || true")); got != word {
			e.Errorf("%s: got %q, want %s", place, got, word)
		}
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

// memoryGoesOn proves that a snapshot that claims to have the memory has it: what
// ran goes on, in the same boot.
func memoryGoesOn(e *env) {
	const look = "cat /proc/sys/kernel/random/boot_id /run/assay-test/memory; pgrep -x sleep >/dev/null && echo sleeps || true"
	s := ability[vm.Snapshotter](e, e.m)
	e.say(e.c, "kept")
	e.sh(e.c, "nohup sleep 1000 >/dev/null 2>&1 &")
	want := e.sh(e.c, look)
	if !strings.HasSuffix(want, "kept\nsleeps\n") {
		e.Fatalf("before the snapshot: got %q, want kept and sleeps", want)
	}
	e.c = e.save(e.m, "a")
	e.say(e.c, "lost")
	e.root(e.c, "pkill -x sleep")
	e.must(s.Restore(e.ctx, "a"))
	e.c = e.dial(e.m)
	if got := e.sh(e.c, look); got != want {
		e.Errorf("after the restore: got %q, want %q: the memory is not the snapshot's", got, want)
	}
}

// forkOfAFork proves that what a fork saved is the fork's own, whatever its
// parent does, and that more than one machine can come of it.
func forkOfAFork(e *env) {
	e.say(e.c, "parent")
	e.c = e.save(e.m, "parent")
	child, c := e.fork("parent", "child")
	e.forkSays(c, "parent")
	e.say(c, "child")
	c = e.save(child, "child")
	e.say(c, "later")
	e.must(ability[vm.Snapshotter](e, e.m).Restore(e.ctx, "parent"))
	for _, name := range []string{"first", "second"} {
		m, err := ability[vm.Forker](e, child).Fork(e.ctx, "child", e.spec(name))
		e.must(err)
		e.closes(m)
		grandchild := e.dial(m)
		e.forkSays(grandchild, "child")
		e.say(grandchild, name)
	}
	e.says(c, "later")
	e.says(e.dial(e.m), "parent")
}
