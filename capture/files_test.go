package capture

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// sampleTree is a small guest: path → content; a path that ends in "/" is a folder,
// a content that begins with "->" makes a link.
var sampleTree = map[string]string{
	"etc/passwd":             "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/bash\n",
	"etc/group":              "root:x:0:\nsudo:x:27:tester\n",
	"etc/motd":               "hello\n",
	"etc/shadow":             "root:*:1:\n",
	"etc/os-release":         "-> ../usr/lib/os-release",
	"usr/lib/os-release":     "ID=none\n",
	"home/tester/.bashrc":    "export PATH=$HOME/bin:$PATH\n",
	"home/tester/empty":      "",
	"var/lib/nothing/":       "",
	"proc/1/stat":            "1 (init) S 0 1 1 0 -1 4194560 1\n",
	"proc/1/status":          "Name:\tinit\nUid:\t0\t0\t0\t0\n",
	"proc/1/cmdline":         "/sbin/init\x00splash\x00",
	"proc/sys/kernel/ostype": "Linux\n",
}

func writeTree(t testing.TB, tree map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for p, content := range tree {
		write(t, root, p, content)
	}
	return root
}

func write(t testing.TB, root, p, content string) {
	t.Helper()
	at := filepath.Join(root, p)
	dir := filepath.Dir(at)
	if strings.HasSuffix(p, "/") {
		dir = at
	}
	check(t, os.MkdirAll(dir, 0o755))
	switch target, link := strings.CutPrefix(content, "-> "); {
	case strings.HasSuffix(p, "/"):
	case link:
		check(t, os.Symlink(target, at))
	default:
		check(t, os.WriteFile(at, []byte(content), 0o644))
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func collectFiles(t testing.TB, src Source) Capture {
	t.Helper()
	c, err := Collect(t.Context(), src, Options{Only: []string{"files"}})
	check(t, err)
	return c
}

// keysOf lists the changes as "op kind:key".
func keysOf(t testing.TB, before, after Capture) []string {
	t.Helper()
	changes, _, err := Diff(before, after, DiffOptions{})
	check(t, err)
	var out []string
	for _, c := range changes {
		out = append(out, string(c.Op)+" "+c.Kind+":"+c.Key)
	}
	return out
}

// counting counts what is opened, and can make everything look old.
type counting struct {
	Source
	opened atomic.Int64
	age    bool
}

func (c *counting) open(p string) (io.ReadCloser, error) {
	c.opened.Add(1)
	return source{c.Source}.open(p)
}

func (c *counting) list(dir string) ([]entry, error) {
	entries, err := source{c.Source}.list(dir)
	for i := range entries {
		if c.age {
			entries[i].stat.Ctime -= int64(time.Hour)
		}
	}
	return entries, err
}

func TestFilesOfEveryType(t *testing.T) {
	root := writeTree(t, sampleTree)
	check(t, syscall.Mkfifo(filepath.Join(root, "etc/fifo"), 0o600))
	check(t, os.Chmod(filepath.Join(root, "etc/motd"), 0o4751))
	check(t, os.Chmod(filepath.Join(root, "etc/motd"), 0o751|os.ModeSetuid))
	c := collectFiles(t, Dir(root))
	for _, want := range []struct{ key, name, value string }{
		{"/", "type", "dir"},
		{"/etc/fifo", "type", "fifo"},
		{"/etc/fifo", "mode", "0600"},
		{"/etc/motd", "mode", "4751"},
		{"/etc/motd", "size", "6"},
		{"/etc/motd", "text", "hello\n"},
		{"/etc/motd", "sha256", "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"},
		{"/etc/os-release", "target", "../usr/lib/os-release"},
		{"/home/tester/empty", "size", "0"},
		{"/usr/lib/os-release", "text", ""},
		{"/etc/shadow", "text", ""},
		{"/proc", "type", "dir"},
	} {
		r := c.find(File, want.key)
		if r == nil || r.Attrs[want.name] != want.value {
			t.Errorf("%s: got %v, want %s=%q", want.key, r, want.name, want.value)
		}
	}
	if c.find(File, "/proc/1") != nil {
		t.Error("the walk entered /proc")
	}
}

// Names are kept losslessly, whatever bytes they have.
func TestFilesWithHostileNames(t *testing.T) {
	root := t.TempDir()
	names := []string{"new\nline", "tab\t", "esc\x1b[31m", "bad\xff\xfeutf8", `back\slash`, "bidi\u202etxt", "spaces  and ä", "-rf", strings.Repeat("n", 255)}
	for _, n := range names {
		check(t, os.WriteFile(filepath.Join(root, n), []byte(n), 0o644))
	}
	c := collectFiles(t, Dir(root))
	var got []string
	for _, r := range c.Records {
		if strings.ContainsFunc(r.Key, func(r rune) bool { return !printable(r) }) {
			t.Errorf("key %q is not printable", r.Key)
		}
		raw, err := Unescape(r.Key)
		check(t, err)
		if raw != "/" {
			got = append(got, raw[1:])
		}
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Fatalf("got %q, want %q", got, names)
	}
}

// A file that nobody may hash, or whose size is a lie, is a record and a problem.
func TestUnreadFilesAreProblems(t *testing.T) {
	root := writeTree(t, sampleTree)
	check(t, os.Truncate(filepath.Join(root, "etc/motd"), 1<<40))
	src := &refusing{Source: Dir(root), path: "/etc/group"}
	c := collectFiles(t, src)
	for key, why := range map[string]string{"/etc/motd": "at most 1073741824 are hashed", "/etc/group": "permission denied"} {
		r := c.find(File, key)
		if r == nil || !strings.Contains(r.Attrs["unread"], why) || r.Attrs["sha256"] != "" {
			t.Errorf("%s: got %v, want unread: %s", key, r, why)
		}
		if !slices.ContainsFunc(c.Problems, func(p string) bool { return strings.Contains(p, key) && strings.Contains(p, why) }) {
			t.Errorf("%s: no problem among %q", key, c.Problems)
		}
	}
}

type refusing struct {
	Source
	path string
}

func (r *refusing) open(p string) (io.ReadCloser, error) {
	if p == r.path {
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrPermission}
	}
	return source{r.Source}.open(p)
}

// Links that go in circles, or out of the guest, lead nowhere.
func TestLinksLeadNowhere(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(outside, []byte("host"), 0o644))
	root := writeTree(t, map[string]string{
		"a/up": "-> ..", "a/self": "-> self", "a/host": "-> " + outside, "a/climb": "-> ../../../../../../../.." + outside,
		"etc/passwd": "-> " + outside, "abs": "-> /a", "a/real": "x",
	})
	src := Dir(root)
	c := collectFiles(t, src)
	if len(c.Records) != 10 || len(c.Problems) != 0 {
		t.Fatalf("got %d records, problems %q", len(c.Records), c.Problems)
	}
	for _, p := range []string{"/a/host", "/a/climb", "/a/self", "/etc/passwd"} {
		if data, err := src.ReadFile(p, 100); err == nil {
			t.Errorf("%s: read %q", p, data)
		}
	}
	if data, err := src.ReadFile("/abs/up/a/real", 100); err != nil || string(data) != "x" {
		t.Errorf("a link inside the guest: got %q, %v", data, err)
	}
	if _, err := src.ReadFile("/a/real", 0); err == nil {
		t.Error("a file longer than the limit was read")
	}
}

func TestDeepAndWideTrees(t *testing.T) {
	root := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(root, strings.Repeat("d/", 100)), 0o755))
	for i := range 300 {
		check(t, os.Symlink("loop", filepath.Join(root, "loop"+decimal(i))))
	}
	if n := len(collectFiles(t, Dir(root)).Records); n != 401 {
		t.Fatalf("got %d records, want 401", n)
	}
}

// The same guest gives the same bytes; an empty one gives no error; a cancelled
// capture ends.
func TestCaptureIsReproducible(t *testing.T) {
	root := writeTree(t, sampleTree)
	var digests []string
	for range 3 {
		c, err := Collect(t.Context(), Dir(root), Options{})
		check(t, err)
		if !slices.IsSortedFunc(c.Records, compareKeys) {
			t.Fatal("records are not sorted")
		}
		digests = append(digests, c.Digest())
	}
	if len(slices.Compact(digests)) != 1 {
		t.Fatalf("got %q", digests)
	}
}

func TestEmptyGuest(t *testing.T) {
	c, err := Collect(t.Context(), Dir(t.TempDir()), Options{})
	check(t, err)
	if len(c.Records) != 1 || len(c.Problems) != 0 {
		t.Fatalf("got %v, problems %q, want the root folder only", c.Records, c.Problems)
	}
}

func TestCancelEndsACapture(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range Collectors() {
		_, err := Collect(ctx, Dir(writeTree(t, sampleTree)), Options{Only: []string{c.Name()}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", c.Name(), err, context.Canceled)
		}
	}
}

func TestUnknownCollector(t *testing.T) {
	_, err := Collect(t.Context(), Dir(t.TempDir()), Options{Only: []string{"moods"}})
	if err == nil || !strings.Contains(err.Error(), `unknown collector "moods", want one of files, `) {
		t.Fatalf("got %v", err)
	}
}

// A collector emits only the kinds that it names.
func TestKindsAreDeclared(t *testing.T) {
	root := writeTree(t, sampleTree)
	for _, c := range Collectors() {
		got, err := Collect(t.Context(), Dir(root), Options{Only: []string{c.Name()}})
		check(t, err)
		for kind := range got.Counts() {
			if !slices.Contains(c.Kinds(), kind) {
				t.Errorf("%s emits kind %s, which it does not name", c.Name(), kind)
			}
		}
	}
}

func TestRootsBoundTheWalk(t *testing.T) {
	c, err := Collect(t.Context(), Dir(writeTree(t, sampleTree)), Options{Only: []string{"files"}, Roots: []string{"/home", "/etc/motd", "/gone"}})
	check(t, err)
	var keys []string
	for _, r := range c.Records {
		keys = append(keys, r.Key)
	}
	want := []string{"/etc/motd", "/home", "/home/tester", "/home/tester/.bashrc", "/home/tester/empty"}
	if !slices.Equal(keys, want) {
		t.Fatalf("got %q, want %q", keys, want)
	}
}

func TestDirTellsNothingAlive(t *testing.T) {
	root := writeTree(t, map[string]string{".run/say %etc": "recorded"})
	src := Dir(root)
	if out, err := src.Run(t.Context(), "say", "/etc"); err != nil || string(out) != "recorded" {
		t.Fatalf("got %q, %v", out, err)
	}
	if _, err := src.Run(t.Context(), "systemctl"); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("got %v, want %v", err, errors.ErrUnsupported)
	}
	if n := len(collectFiles(t, src).Records); n != 1 {
		t.Fatalf("the recordings are among %d records", n)
	}
}

func TestExtendedAttributesDecode(t *testing.T) {
	caps := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	if got := capabilities([]byte(caps)); got != "cap_net_raw=ep" {
		t.Errorf("got %q", got)
	}
	if got := capabilities([]byte("\x00\x00\x00\x02\x00\x20\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")); got != "cap_net_raw=ip" {
		t.Errorf("got %q", got)
	}
	list := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x20\x00\x04\x00\xff\xff\xff\xff"
	if got := acl([]byte(list)); got != "user::rw-,user:1000:r--,other::r--" {
		t.Errorf("got %q", got)
	}
	for _, garbage := range []string{"", "x", "\x02\x00\x00\x00\x00", strings.Repeat("\xff", 100)} {
		capabilities([]byte(garbage))
		acl([]byte(garbage))
	}
}
