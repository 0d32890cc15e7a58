package drivertest

import (
	"bytes"
	"errors"
	"image/png"
	"io/fs"
	"strings"
	"time"

	"assay/guest"
	"assay/vm"
)

// restore proves that the disk goes back, flushed as it was, and that the line
// must be redialled.
func restore(e *env) {
	s := ability[vm.Snapshotter](e, e.m)
	e.sh(e.c, "echo before >~/f")
	e.must(s.Snapshot(e.ctx, "a"))
	e.c = e.dial(e.m)
	if got := e.sh(e.c, "cat ~/f"); got != "before\n" {
		e.Errorf("after the snapshot: got %q, want before", got)
	}
	e.sh(e.c, "echo after >~/f; echo new >~/g; sync")
	old := e.c
	e.must(s.Restore(e.ctx, "a"))
	select {
	case <-old.Done():
	case <-e.ctx.Done():
		e.Errorf("the line outlives a restore")
	}
	e.c = e.dial(e.m)
	if got := e.sh(e.c, "cat ~/f; test -e ~/g || echo gone"); got != "before\ngone\n" {
		e.Errorf("after the restore: got %q, want before and gone", got)
	}
	if err := s.Snapshot(e.ctx, "a"); err == nil {
		e.Errorf("a second snapshot of the same name is taken")
	}
}

func restoreUnknown(e *env) {
	s := ability[vm.Snapshotter](e, e.m)
	e.sh(e.c, "echo mine >/tmp/f")
	if err := s.Restore(e.ctx, "no-such"); !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if got := e.sh(e.dial(e.m), "cat /tmp/f"); got != "mine\n" {
		e.Errorf("the machine was changed: got %q, want mine", got)
	}
}

// fork makes a machine from a snapshot of the row's own.
func (e *env) fork(snapshot, name string) (vm.Machine, *guest.Client) {
	e.Helper()
	child, err := ability[vm.Forker](e, e.m).Fork(e.ctx, snapshot, e.spec(name))
	e.must(err)
	e.closes(child)
	return child, e.dial(child)
}

// base saves a state in which ~/f says base.
func (e *env) base() {
	e.Helper()
	e.sh(e.c, "echo base >~/f; sync")
	e.must(ability[vm.Snapshotter](e, e.m).Snapshot(e.ctx, "base"))
	e.c = e.dial(e.m)
}

func forkTwice(e *env) {
	e.base()
	e.sh(e.c, "echo parent >~/f")
	_, one := e.fork("base", "one")
	e.sh(one, "echo one >~/f")
	_, two := e.fork("base", "two")
	for want, c := range map[string]*guest.Client{"parent": e.c, "one": one, "base": two} {
		if got := strings.TrimSpace(e.sh(c, "cat ~/f")); got != want {
			e.Errorf("got %q, want %q: the machines share a disk or memory", got, want)
		}
	}
	spec := e.spec("three")
	m, err := ability[vm.Forker](e, e.m).Fork(e.ctx, "no-such", spec)
	if err == nil {
		e.must(m.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("a fork of an unknown snapshot: got %v, want fs.ErrNotExist", err)
	}
}

func forkOutlives(e *env) {
	e.base()
	child, c := e.fork("base", "child")
	e.must(e.m.Close())
	if got := e.sh(c, "cat ~/f; sync; echo alive"); got != "base\nalive\n" {
		e.Errorf("the child: got %q, want base and alive", got)
	}
	if s, err := vm.As[vm.Snapshotter](child); err == nil {
		e.must(s.Snapshot(e.ctx, "again"))
		if got := e.sh(e.dial(child), "cat ~/f"); got != "base\n" {
			e.Errorf("after the child's own snapshot: got %q, want base", got)
		}
	}
}

// identifying are what two machines must not share. In brackets is what not every
// guest has.
var identifying = []string{
	"cat /proc/sys/kernel/random/uuid", "head -c 1000 /dev/urandom | sha256sum", "hostname", "cat /etc/machine-id",
	"(cat /sys/class/net/e*/address 2>/dev/null || true)", "(cat /etc/ssh/ssh_host_*_key.pub 2>/dev/null || true)",
}

// twinsDiffer proves that renewed forks are not each other: not by their
// randomness, nor by their names and addresses, nor by their keys.
func twinsDiffer(e *env) {
	e.base()
	seen := map[string]string{}
	for _, name := range []string{"one", "two"} {
		_, c := e.fork("base", name)
		info, err := c.Info(e.ctx)
		e.must(err)
		id, err := guest.NewIdentity(name, info.HostKeys).Identity(e.ctx)
		e.must(err)
		e.must(c.Renew(e.ctx, id))
		for _, line := range identifying {
			got := strings.TrimSpace(e.sh(c, line))
			if got == "" && !strings.HasPrefix(line, "(") || got != "" && seen[line] == got {
				e.Errorf("%s: both twins say %q", line, got)
			}
			seen[line] = got
		}
	}
}

func console(e *env) {
	text, err := ability[vm.Consoler](e, e.m).Console()
	if err != nil || !bytes.Contains(text, []byte("Linux")) {
		e.Errorf("got %d bytes without \"Linux\", %v; want what the kernel said as it booted", len(text), err)
	}
}

func screenshot(e *env) {
	data, err := ability[vm.Screenshotter](e, e.m).Screenshot(e.ctx)
	e.must(err)
	if _, err := png.Decode(bytes.NewReader(data)); err != nil {
		e.Errorf("got %d bytes that are no PNG: %v", len(data), err)
	}
}

// link proves that the line does not hang on the network's cable.
func link(e *env) {
	n := ability[vm.Networker](e, e.m)
	for _, up := range []bool{false, true} {
		e.must(n.SetLink(e.ctx, up))
		e.sh(e.c, "true")
	}
}

func suspend(e *env) {
	s := ability[vm.Suspender](e, e.m)
	e.must(s.Suspend(e.ctx))
	done := make(chan error, 1)
	go func() {
		_, err := e.c.Exec(e.ctx, guest.Command{Argv: []string{"true"}}, nil, nil, nil)
		done <- err
	}()
	select {
	case err := <-done:
		e.Errorf("a suspended machine answers: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	e.must(s.Resume(e.ctx))
	select {
	case err := <-done:
		e.must(err)
	case <-e.ctx.Done():
		e.Fatalf("the machine does not come back")
	}
}

func usage(e *env) {
	u, err := ability[vm.Usager](e, e.m).Usage(e.ctx)
	if err != nil || u.Memory <= 0 || u.CPU <= 0 || u.Disk < 0 {
		e.Errorf("got %+v, %v; want memory and CPU time above 0", u, err)
	}
}
