package capture

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"assay"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// someCapture draws a capture whose records repeat between draws, so that a pair
// has common, changed and lonely ones.
func someCapture(t *rapid.T, name string) Capture {
	records := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Record {
		r := Record{rapid.SampledFrom([]string{File, Package, Process}).Draw(t, "kind"), rapid.SampledFrom([]string{"/a", "/a/b", "/a-b", "/c", "/tmp/x1"}).Draw(t, "key"), nil}
		r.Attrs = attrs("mode", rapid.SampledFrom([]string{"1", "2"}).Draw(t, "mode"), "mtime", rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "mtime"),
			"type", rapid.SampledFrom([]string{"file", "dir"}).Draw(t, "type"), "text", rapid.SampledFrom([]string{"", "a\nb\n", "a\n"}).Draw(t, "text"))
		return r
	}), 0, 12, func(r Record) string { return r.Kind + r.Key }).Draw(t, name)
	return finish("", records, nil)
}

func TestDiffOfItselfIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := someCapture(t, "c")
		if changes, _, err := Diff(c, c, DiffOptions{}); err != nil || len(changes) > 0 {
			t.Fatalf("got %v, %v", changes, err)
		}
	})
}

// Swapping the captures swaps added and removed, and before and after.
func TestDiffIsSymmetric(t *testing.T) {
	opposite := map[assay.Op]assay.Op{assay.Added: assay.Removed, assay.Removed: assay.Added, assay.Modified: assay.Modified}
	rapid.Check(t, func(t *rapid.T) {
		a, b := someCapture(t, "a"), someCapture(t, "b")
		there, _, err := Diff(a, b, DiffOptions{})
		back, _, err2 := Diff(b, a, DiffOptions{})
		if err != nil || err2 != nil || len(there) != len(back) {
			t.Fatalf("%d changes there, %d back: %v %v", len(there), len(back), err, err2)
		}
		for i, c := range there {
			r := back[i]
			if r.Kind != c.Kind || r.Key != c.Key || r.Op != opposite[c.Op] || !maps.Equal(r.Before, c.After) || !maps.Equal(r.After, c.Before) || !slices.Equal(r.Fields, c.Fields) {
				t.Fatalf("there %+v, back %+v", c, r)
			}
		}
	})
}

// Applying what a diff says was added and removed leads from one list of keys to
// the other: nothing is left out.
func TestDiffIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := someCapture(t, "a"), someCapture(t, "b")
		changes, _, _ := Diff(a, b, DiffOptions{})
		keys := map[string]bool{}
		for _, r := range a.Records {
			keys[r.Kind+":"+r.Key] = true
		}
		for _, c := range changes {
			switch c.Op {
			case assay.Added:
				keys[c.Kind+":"+c.Key] = true
			case assay.Removed:
				delete(keys, c.Kind+":"+c.Key)
			}
		}
		want := map[string]bool{}
		for _, r := range b.Records {
			want[r.Kind+":"+r.Key] = true
		}
		if !maps.Equal(keys, want) {
			t.Fatalf("got %v, want %v", keys, want)
		}
	})
}

// file makes a file's record, with what a collector would say of it.
func file(path string, pairs ...string) Record {
	return Record{File, path, attrs(append([]string{"type", "file", "mode", "0644", "uid", "0", "gid", "0", "size", "10", "sha256", "11", "mtime", "1", "ctime", "1", "ino", "1"}, pairs...)...)}
}

func folderOf(path string) Record { return file(path, "type", "dir", "size", "", "sha256", "") }

func captureOf(records ...Record) Capture { return finish("", records, nil) }

func TestDiffFields(t *testing.T) {
	before := captureOf(file("/etc/a", "text", "1\n"), file("/etc/same", "mtime", "1"), file("/gone"), Record{Process, "root: x", attrs("pid", "1", "exe", "/x")})
	after := captureOf(file("/etc/a", "text", "2\n", "mode", "4755", "sha256", "22", "mtime", "9"), file("/etc/same", "mtime", "7", "ctime", "8", "ino", "9"), file("/new"), Record{Process, "root: x", attrs("pid", "2", "exe", "/x")})
	changes, ignored, err := Diff(before, after, DiffOptions{})
	check(t, err)
	if ignored != 0 || len(changes) != 3 {
		t.Fatalf("got %d changes, %d ignored: %+v", len(changes), ignored, changes)
	}
	got := changes[0]
	want := assay.Change{Kind: File, Key: "/etc/a", Op: assay.Modified, Fields: []string{"mode", "sha256"},
		Before: attrs("type", "file", "mode", "0644", "uid", "0", "gid", "0", "size", "10", "sha256", "11", "mtime", "1"),
		After:  attrs("type", "file", "mode", "4755", "uid", "0", "gid", "0", "size", "10", "sha256", "22", "mtime", "9"),
		Text:   "--- a/etc/a\n+++ b/etc/a\n@@ -1 +1 @@\n-1\n+2\n"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s", d)
	}
}

func TestDiffIgnores(t *testing.T) {
	before := captureOf()
	after := captureOf(file("/var/log/a.log"), file("/var/log/deep/b.log"), file("/etc/x"), Record{Process, "tester: sleep 9", attrs("exe", "/bin/sleep")})
	changes, ignored, err := Diff(before, after, DiffOptions{Ignore: []string{"/var/log/**", "process:tester: sleep*"}})
	check(t, err)
	if ignored != 3 || len(changes) != 1 || changes[0].Key != "/etc/x" {
		t.Fatalf("got %d ignored, %+v", ignored, changes)
	}
	if _, _, err := Diff(before, after, DiffOptions{Ignore: []string{"[a"}}); err == nil || !strings.Contains(err.Error(), `"[a"`) {
		t.Fatalf("got %v, want a complaint about the glob", err)
	}
}

func TestDiffRefusesOtherCollectors(t *testing.T) {
	_, _, err := Diff(Capture{Version: Version}, Capture{Version: Version + 1}, DiffOptions{})
	if err == nil || !strings.Contains(err.Error(), "capture again") {
		t.Fatalf("got %v", err)
	}
}

// dpkgPackage is a package and its list of files, as two collectors tell of it.
func dpkgPackage(name, version string, files ...string) []Record {
	return []Record{
		{Package, "dpkg:" + name, attrs("manager", "dpkg", "name", name, "version", version, "arch", "amd64")},
		file(dpkgInfo+name+".list", "text", strings.Join(files, "\n")+"\n"),
	}
}

func TestGroups(t *testing.T) {
	base := []Record{file("/lib", "type", "link", "target", "usr/lib"), file("/var/lib/dpkg/status"), file("/etc/ld.so.cache"), file("/etc/profile")}
	before := captureOf(append(slices.Clone(base), dpkgPackage("old", "1", "/.", "/usr/bin/old")...)...)
	after := append(slices.Clone(base), dpkgPackage("jq", "1.6", "/.", "/usr", "/usr/bin/jq", "/usr/share/doc/jq", "/lib/systemd/system/jq.service", "/usr/lib/python3/jq/a.py", "/usr/lib/python3/jq")...)
	for _, p := range []string{"/usr/bin/jq", "/usr/lib/systemd/system/jq.service", "/usr/lib/python3/jq/a.py", "/usr/lib/python3/jq/__pycache__/a.cpython-311.pyc", "/var/lib/apt/lists/deb.example.org_debian_dists_bookworm_InRelease", "/usr/bin/jq2"} {
		after = append(after, file(p))
	}
	after = append(after, folderOf("/usr/share/doc/jq"), folderOf("/usr/lib/python3/jq/__pycache__"), file("/etc/systemd/system/multi-user.target.wants/jq.service", "type", "link", "target", "/lib/systemd/system/jq.service"),
		Record{Unit, "jq.service", attrs("path", "/lib/systemd/system/jq.service")}, Record{Process, "root: jq", attrs("exe", "/usr/bin/jq")},
		Record{Cron, "/etc/cron.d/evil: x", attrs("file", "/etc/cron.d/evil")})
	for i := range 21 {
		after = append(after, file("/opt/big/sub/f"+decimal(i)))
	}
	after = append(after, folderOf("/opt/big"), folderOf("/opt/big/sub"), file("/opt/big-not"))
	changes, _, err := Diff(before, captureOf(after...), DiffOptions{})
	check(t, err)
	got := map[string]string{}
	for _, c := range changes {
		got[c.Kind+":"+c.Key] = c.Group
	}
	for key, want := range map[string]string{
		"package:dpkg:jq":                         "",
		"package:dpkg:old":                        "",
		"file:/usr/bin/jq":                        "package jq",
		"file:/usr/bin/jq2":                       "",
		"file:/usr/share/doc/jq":                  "package jq",
		"file:/usr/lib/systemd/system/jq.service": "package jq",
		"file:/etc/systemd/system/multi-user.target.wants/jq.service": "package jq",
		"file:/usr/lib/python3/jq/__pycache__":                        "package jq",
		"file:/usr/lib/python3/jq/__pycache__/a.cpython-311.pyc":      "package jq",
		"unit:jq.service":  "package jq",
		"process:root: jq": "package jq",
		"file:/var/lib/apt/lists/deb.example.org_debian_dists_bookworm_InRelease": "package manager",
		"file:/var/lib/dpkg/info/jq.list":                                         "package manager",
		"cron:/etc/cron.d/evil: x":                                                "",
		"file:/opt/big/sub/f7":                                                    "tree /opt/big",
		"file:/opt/big":                                                           "tree /opt/big",
		"file:/opt/big-not":                                                       "",
	} {
		if g, ok := got[key]; !ok || g != want {
			t.Errorf("%s: got group %q (%v), want %q", key, g, ok, want)
		}
	}
}

// Without a change of any package, what a manager writes is nobody's.
func TestBookkeepingNeedsAPackage(t *testing.T) {
	changes, _, err := Diff(captureOf(), captureOf(file("/var/lib/dpkg/status"), file("/etc/ld.so.cache")), DiffOptions{})
	check(t, err)
	for _, c := range changes {
		if c.Group != "" {
			t.Errorf("%s: got group %q", c.Key, c.Group)
		}
	}
}

// The lines of the report that assay was made after.
func TestFoldAsTheReportShows(t *testing.T) {
	var after []Record
	add := func(path, size string) { after = append(after, file(path, "size", size)) }
	after = append(after, folderOf("/home/ubuntu/.cache"), folderOf("/home/ubuntu/.cache/skill-assets"), folderOf("/home/ubuntu/.claude/cache"))
	for i := range 8 {
		add("/home/ubuntu/.cache/skill-assets/"+decimal(i)+".bin", "15360")
	}
	for _, n := range []string{"a81", "b92", "c03"} {
		add("/tmp/skill-temp-"+n+".log", "15360")
	}
	add("/tmp/tmp.Xa81Jq90aa", "1")
	add("/home/ubuntu/.claude/cache/skill-data.json", "15360")
	after = append(after, dpkgPackage("jq", "1.6-2.1", "/usr/bin/jq", "/usr/share/doc/jq/copyright")...)
	add("/usr/bin/jq", "30000")
	add("/usr/share/doc/jq/copyright", "300")
	after = append(after, file("/etc/profile", "sha256", "22"), file("/home/ubuntu/run", "type", "link", "target", "/bin/sh"))
	changes, _, err := Diff(captureOf(file("/etc/profile"), file("/etc/motd")), captureOf(after...), DiffOptions{})
	check(t, err)
	var got []string
	count := 0
	for _, l := range Fold(changes) {
		got = append(got, string(l.Op)+" "+l.Text)
		count += l.Count
	}
	want := []string{
		"added /home/ubuntu/.cache/skill-assets/ (8 files, 120KB)",
		"added /home/ubuntu/.claude/cache/skill-data.json (15KB)",
		"added /home/ubuntu/run → /bin/sh",
		"added /tmp/skill-temp-*.log (3 files, 45KB total)",
		"added /tmp/tmp.Xa81Jq90aa (1B)",
		"modified /etc/profile (sha256)",
		"removed /etc/motd",
		"added package jq (+2 files)",
		"added package manager (+1 file)",
		"added dpkg:jq (1.6-2.1)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if count != len(changes) {
		t.Errorf("lines stand for %d changes, want %d", count, len(changes))
	}
}

// Every change is in exactly one line.
func TestFoldLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes, _, _ := Diff(someCapture(t, "a"), someCapture(t, "b"), DiffOptions{})
		n := 0
		for _, l := range Fold(changes) {
			n += l.Count
		}
		if n != len(changes) {
			t.Fatalf("lines stand for %d changes, want %d: %+v", n, len(changes), changes)
		}
	})
}

// patch applies a unified diff, so that a diff proves itself.
func patch(t *rapid.T, before, diff string) string {
	a := strings.SplitAfter(before, "\n")
	var out []string
	at := 0
	last := byte(0)
	for _, l := range strings.SplitAfter(diff, "\n")[2:] {
		switch {
		case l == "":
		case l[0] == '@':
			var start int
			for _, r := range l[4:] {
				if r < '0' || r > '9' {
					break
				}
				start = start*10 + int(r-'0')
			}
			if !strings.HasPrefix(l[4:], decimal(start)+",0 ") {
				start--
			}
			out = append(out, a[at:start]...)
			at = start
		case l[0] == '\\' && last != '-':
			out[len(out)-1] = strings.TrimSuffix(out[len(out)-1], "\n")
		case l[0] == '+':
			out = append(out, l[1:])
		case l[0] == ' ':
			out = append(out, l[1:])
			at++
		case l[0] == '-':
			if strings.TrimSuffix(a[at], "\n") != strings.TrimSuffix(l[1:], "\n") {
				t.Fatalf("removes %q, there is %q", l[1:], a[at])
			}
			at++
		}
		if l != "" {
			last = l[0]
		}
	}
	return strings.Join(append(out, a[at:]...), "")
}

func TestUnifiedDiffIsAPatch(t *testing.T) {
	some := rapid.StringMatching(`([abc]?\n){0,30}[abc]?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := some.Draw(t, "a"), some.Draw(t, "b")
		if a == b {
			return
		}
		d := unified("a", "b", a, b)
		if got := patch(t, a, d); got != b {
			t.Fatalf("got %q, want %q from\n%s", got, b, d)
		}
	})
}

func TestUnifiedIsBoundedAndReadable(t *testing.T) {
	d := unified("a", "b", strings.Repeat("x\n", 40_000), strings.Repeat("\x1b[2Jy\n", 40_000))
	if len(d) > maxUnified+100 || !strings.HasSuffix(d, "the rest is left out\n") || strings.Contains(d, "\x1b") {
		t.Fatalf("%d bytes, ends %q", len(d), d[len(d)-60:])
	}
	if d := unified("a", "b", "", "C:\\x\t1\n"); d != "--- a\n+++ b\n@@ -0,0 +1 @@\n+C:\\x\t1\n" {
		t.Fatalf("got %q", d)
	}
}

func TestEscapeIsLossless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		got, err := Unescape(Escape(s))
		if err != nil || got != s {
			t.Fatalf("got %q, %v, want %q", got, err, s)
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	var records, changed []Record
	for i := range 20_000 {
		r := file("/usr/share/x/" + decimal(i))
		records = append(records, r)
		changed = append(changed, file(r.Key, "sha256", decimal(i%100)))
	}
	before, after := captureOf(records...), captureOf(changed...)
	for b.Loop() {
		if _, _, err := Diff(before, after, DiffOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// The text of a file that a mount hides has the path that it would have.
func TestDiffOfHiddenText(t *testing.T) {
	r := Record{File, HiddenPrefix + "/srv/x", attrs("type", "file", "sha256", "1", "hidden", "/srv", "text", "a\n")}
	changes, _, err := Diff(captureOf(), captureOf(r), DiffOptions{})
	check(t, err)
	if want := "--- /dev/null\n+++ b/srv/x\n@@ -0,0 +1 @@\n+a\n"; len(changes) != 1 || changes[0].Text != want {
		t.Errorf("got %+v, want the text %q", changes, want)
	}
}
