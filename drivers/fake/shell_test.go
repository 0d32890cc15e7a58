package fake

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"assay/capture"
	"assay/guest"
	"assay/vm"
)

func newSystem(t *testing.T) *system {
	t.Helper()
	g, err := bootSystem(vm.Spec{Image: vm.Image{Name: "debian-12"}, CPUs: 1, Memory: 1 << 29}, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func run(t *testing.T, g *system, line string) (string, guest.Exit) {
	t.Helper()
	var out bytes.Buffer
	exit, err := g.Exec(t.Context(), guest.Command{Shell: line}, guest.Streams{Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out.String(), exit
}

// TestShell shows what a fake guest's shell can do, and what it refuses.
func TestShell(t *testing.T) {
	for _, tc := range []struct {
		line, want string
		code       int
	}{
		{"whoami; id -u; pwd", "tester\n1000\n/home/tester\n", 0},
		{"sudo whoami; sudo -n id -u", "root\n0\n", 0},
		{"echo x >/etc/motd", "open /etc/motd: permission denied\n", 1},
		{"echo x | sudo tee /etc/motd; cat /etc/motd", "x\nx\n", 0},
		{"mkdir -p a/b && touch a/b/c && ls a/b && rm -r a && ls a", "c\nls: cannot access 'a': cannot stat '/home/tester/a': No such file or directory\n", 2},
		{"printf '%s\\n' b a | sort; echo $?", "a\nb\n0\n", 0},
		{"cat >s.sh <<'E'\n#!/bin/sh\nset -e\necho \"$1\" from $0\nfalse\necho never\nE\nchmod +x s.sh; ./s.sh hi", "hi from ./s.sh\n", 1},
		{"no-such-word", "no-such-word: command not found\n", 127},
		{"command -v jq || echo none; sudo apt-get install -y jq >/dev/null && command -v jq", "none\n/usr/bin/jq\n", 0},
		{"apt-get install -y jq", "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n", 100},
		{"sudo apt-get install -y emacs", "E: Unable to locate package emacs\n", 100},
		{"cat <(echo x)", "sh: process substitution is more than this guest's shell can do\n", 2},
		{"if [ -f /etc/passwd ]; then echo yes; fi; test -w /etc/passwd || echo ro", "yes\nro\n", 0},
		{"for f in /etc/host*; do echo $f; done", "/etc/hostname\n/etc/hosts\n", 0},
		{"ln -s /etc/hostname l && cat l && readlink l", "assay\n/etc/hostname\n", 0},
		{"ln -s loop loop; cat loop", "cat: loop: cannot open '/home/tester/loop': too many levels of symbolic links\n", 1},
		{"cp -r /etc/sudoers.d x", "cp: cannot open '/etc/sudoers.d/tester': Permission denied\n", 1},
		{"X=1 env | grep ^X=; echo ${HOME}", "X=1\n/home/tester\n", 0},
		{"timeout 0.05 sleep 60", "", 124},
		{"printf 'a-b\\nc\\n' | tr a-z A-Z | cut -d - -f 1; printf 'x\\ny\\n' >f; grep -rn y . ; sudo A=1 env | grep ^A", "A\nC\n./f:2:y\nA=1\n", 0},
		{"head -c 3 /dev/zero | wc -c", "3\n", 0},
	} {
		if got, exit := run(t, newSystem(t), tc.line); got != tc.want || exit.Code != tc.code {
			t.Errorf("%s\n got %q, exit %d\nwant %q, exit %d", tc.line, got, exit.Code, tc.want, tc.code)
		}
	}
}

// TestShellStaysInside proves that a script cannot see the host.
func TestShellStaysInside(t *testing.T) {
	host := t.TempDir()
	for _, line := range []string{
		"ls " + host, "cd " + host, "cat /proc/self/environ", "test -d " + host, "type -p go", "hash go", ". " + host,
		"pwd -P; exec /usr/bin/env -i /bin/no-such",
	} {
		if got, exit := run(t, newSystem(t), line); exit.Code == 0 {
			t.Errorf("%s: got exit 0 and %q, want a failure", line, got)
		}
	}
}

func TestOrphans(t *testing.T) {
	g := newSystem(t)
	_, exit := run(t, g, "nohup sleep 1000 >/dev/null 2>&1 & echo started")
	if len(exit.Orphans) != 1 || !strings.Contains(exit.Orphans[0].Command, "sleep 1000") {
		t.Fatalf("got %v, want the sleeper", exit.Orphans)
	}
	if out, _ := run(t, g, "pgrep 'sleep 1000'"); out == "" {
		t.Error("the orphan does not live on")
	}
	if out, exit := run(t, g, "pkill 'sleep 1000'; pgrep 'sleep 1000'"); exit.Code == 0 {
		t.Errorf("the orphan outlives pkill: %s", out)
	}
	_, exit = run(t, g, "echo 'sleep 2000 &' >s.sh; bash s.sh")
	if len(exit.Orphans) != 1 {
		t.Errorf("of a script's script: got %v, want one sleeper", exit.Orphans)
	}
	_, exit = run(t, g, "sleep 3000 & kill $!; wait")
	if len(exit.Orphans) != 0 {
		t.Errorf("after kill: got %v, want none", exit.Orphans)
	}
}

func TestDiskFull(t *testing.T) {
	g := newSystem(t)
	g.disk.size = 1 << 20
	if out, exit := run(t, g, "head -c 2000000 /dev/zero >big"); exit.Code == 0 {
		t.Errorf("got exit 0 and %q, want no space left", out)
	}
	if out, exit := run(t, g, "rm big; echo small >small && cat small"); exit.Code != 0 || out != "small\n" {
		t.Errorf("after rm: got exit %d and %q, want room again", exit.Code, out)
	}
}

// TestCapture proves that collectors find in a fake guest what scripts do to it.
func TestCapture(t *testing.T) {
	g := newSystem(t)
	take := func() capture.Capture {
		c, err := capture.Collect(t.Context(), source{g}, capture.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := take()
	run(t, g, "sudo apt-get install -y jq; echo x >/tmp/left; sleep 1000 & sleep 0.01")
	changes, _, err := capture.Diff(before, take(), capture.DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, c := range changes {
		got[c.Kind+" "+c.Key] = true
	}
	for _, want := range []string{"file /tmp/left", "file /usr/bin/jq"} {
		if !got[want] {
			t.Errorf("the difference lacks %q; it has %v", want, got)
		}
	}
}

func TestCloneIsDeep(t *testing.T) {
	g := newSystem(t)
	run(t, g, "echo old >f")
	twin := g.clone(context.Background())
	run(t, g, "echo new >f; mkdir d")
	if out, _ := run(t, twin, "cat f; ls"); out != "old\nf\n" {
		t.Errorf("the twin sees %q, want old and f", out)
	}
	a, b := g.clone(t.Context()), g.clone(t.Context())
	if !bytes.Equal(a.random(16), b.random(16)) {
		t.Error("two clones draw different bytes before they are renewed: the suite's TwinsDiffer proves nothing on this driver")
	}
	if err := b.Renew(t.Context(), guest.Identity{Entropy: []byte("x"), Hostname: "b", Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.random(16), b.random(16)) || b.hostname() != "b" {
		t.Error("a renewed clone is still a twin")
	}
}
