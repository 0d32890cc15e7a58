package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/guest"
	"assay/guest/guesttest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// snapshot describes a tree: type, mode, content and link targets by path.
func snapshot(t testing.TB, root string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			tree[rel] = fmt.Sprintf("%v %x", info.Mode(), b)
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			tree[rel] = "-> " + target
			return err
		}
		tree[rel] = info.Mode().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// openTemp is a folder that any user of the guest may work in.
func openTemp(t testing.TB) string {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o777)
	}
	return dir
}

func write(t testing.TB, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestTransferRoundTrip sends random trees there and back.
func TestTransferRoundTrip(t *testing.T) {
	c := guesttest.Process(t, "")
	base := openTemp(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		src, there, back := fmt.Sprintf("%s/s%d/tree", base, n), fmt.Sprintf("%s/t%d/tree", base, n), fmt.Sprintf("%s/b%d/tree", base, n)
		makeTree(rt, src, 2)
		ctx := context.Background()
		up, err := c.Push(ctx, src, there, guest.PushOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		down, err := c.Pull(ctx, there, back, guest.PullOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		want := snapshot(t, src)
		if diff := cmp.Diff(want, snapshot(t, there)); diff != "" {
			rt.Fatalf("push: %s", diff)
		}
		if diff := cmp.Diff(want, snapshot(t, back)); diff != "" {
			rt.Fatalf("pull: %s", diff)
		}
		if diff := cmp.Diff(up, down); diff != "" || up.Files+up.Dirs != len(want) {
			rt.Fatalf("got %+v up and %+v down, want %d paths", up, down, len(want))
		}
		for _, dir := range []string{src, there, back} {
			os.RemoveAll(filepath.Dir(dir))
		}
	})
}

// makeTree fills dir with files, folders and links of unlikely names.
func makeTree(t *rapid.T, dir string, depth int) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9 .\n\t\\"'*äß日$-]{1,12}`),
		rapid.StringMatching(`[a-z]{200}`), rapid.SampledFrom([]string{"...", "~", "-rf", " ", "\xff\xfe"}))
	names := rapid.SliceOfNDistinct(name.Filter(func(s string) bool { return s != "." && s != ".." }), 0, 5, rapid.ID).Draw(t, "names")
	for _, n := range names {
		path := filepath.Join(dir, n)
		switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
		case kind == 0 && depth > 0:
			makeTree(t, path, depth-1)
		case kind == 1:
			if err := os.Symlink(rapid.SampledFrom(names).Draw(t, "target"), path); err != nil {
				t.Fatal(err)
			}
		default:
			size := rapid.SampledFrom([]int{0, 1, 511, 512, 513, 65535, 65536, 65537}).Draw(t, "size")
			mode := fs.FileMode(rapid.IntRange(0o400, 0o777).Draw(t, "mode"))
			if err := os.WriteFile(path, bytes.Repeat([]byte{byte(size)}, size), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode|0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(dir, 0o700|fs.FileMode(rapid.IntRange(0, 0o77).Draw(t, "mode"))); err != nil {
		t.Fatal(err)
	}
}

// TestCopyRules are those of cp -r, both ways.
func TestCopyRules(t *testing.T) {
	c := guesttest.Process(t, "")
	base := openTemp(t)
	write(t, base+"/src/file", "f", 0o640)
	write(t, base+"/src/dir/in", "i", 0o755)
	for i, copy := range []func(from, to string) error{
		func(from, to string) error {
			_, err := c.Push(limit(t), from, to, guest.PushOptions{})
			return err
		},
		func(from, to string) error {
			_, err := c.Pull(limit(t), from, to, guest.PullOptions{})
			return err
		},
	} {
		for _, tt := range []struct{ name, from, to, want string }{
			{"file to new name", "/src/file", "/new", "/new"},
			{"file into folder", "/src/file", "/there", "/there/file"},
			{"file into missing folder", "/src/file", "/a/b/", "/a/b/file"},
			{"file below missing folder", "/src/file", "/a/b/c", "/a/b/c"},
			{"file over file", "/src/file", "/there/old", "/there/old"},
			{"tree to new name", "/src/dir", "/tree", "/tree/in"},
			{"tree into folder", "/src/dir", "/there", "/there/dir/in"},
			{"tree with slash", "/src/dir/", "/tree", "/tree/in"},
			{"tree merges", "/src/dir", "/merge/", "/merge/dir/in"},
		} {
			dest := fmt.Sprintf("%s/%d/%s", base, i, tt.name)
			write(t, dest+"/there/old", "old", 0o600)
			write(t, dest+"/merge/dir/kept", "kept", 0o600)
			filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error { return os.Chmod(path, 0o777) })
			if err := copy(base+tt.from, dest+tt.to); err != nil {
				t.Errorf("%d: %s: %v", i, tt.name, err)
			}
			if _, err := os.Stat(dest + tt.want); err != nil {
				t.Errorf("%d: %s: %v", i, tt.name, err)
			}
			if _, err := os.Stat(dest + "/merge/dir/kept"); err != nil {
				t.Errorf("%d: %s: %v", i, tt.name, err)
			}
		}
	}
}

func TestTransferRefuses(t *testing.T) {
	c := guesttest.Process(t, "")
	base := openTemp(t)
	write(t, base+"/dir/file", "0123456789", 0o644)
	_, err := c.Pull(limit(t), base+"/none", base+"/x", guest.PullOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing guest path: got %v", err)
	}
	if _, err := c.Push(limit(t), base+"/none", base+"/x", guest.PushOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing host path: got %v", err)
	}
	if _, err := c.Push(limit(t), base+"/dir", base+"/x", guest.PushOptions{User: "nobody-such"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing user: got %v", err)
	}
	if _, err := c.Push(limit(t), base+"/dir", "relative", guest.PushOptions{}); err == nil {
		t.Error("a relative guest path is taken")
	}
	if _, err := c.Push(limit(t), "/dev/null", base+"/x", guest.PushOptions{}); err == nil {
		t.Error("a device is taken")
	}
	if _, err := c.Pull(limit(t), base+"/dir", base+"/y", guest.PullOptions{MaxBytes: 9}); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("too large: got %v", err)
	}
	if _, err := c.Pull(limit(t), base+"/dir", base+"/z", guest.PullOptions{MaxFiles: 1}); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("too many: got %v", err)
	}
	if _, err := c.Push(limit(t), base+"/dir/file", base+"/dir/file/below", guest.PushOptions{}); err == nil {
		t.Error("a file is taken for a folder")
	}
	if err := c.Ping(limit(t)); err != nil {
		t.Error(err)
	}
}

// TestTransferSkips: what cannot travel is left out, and said so.
func TestTransferSkips(t *testing.T) {
	c := guesttest.Process(t, "")
	base := openTemp(t)
	write(t, base+"/src/a", "a", 0o644)
	for name, target := range map[string]string{"in": "a", "up": "../../etc", "abs": "/etc/passwd", "sly": "in/../../x", "dot": "./a"} {
		if err := os.Symlink(target, base+"/src/"+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(base+"/src/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, base+"/src/raised", "", 0o755)
	if err := os.Chmod(base+"/src/raised", 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	stats, err := c.Pull(limit(t), base+"/src", base+"/down", guest.PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(stats.Skipped)
	const out = ": it leads out of the tree"
	want := []string{base + "/src/pipe: a named pipe", base + "/src/raised: its setuid bit",
		"down/abs -> /etc/passwd" + out, "down/sly -> in/../../x" + out, "down/up -> ../../etc" + out}
	if !slices.Equal(stats.Skipped, want) || stats.Files != 4 {
		t.Errorf("got %+v, want %q skipped and 4 files", stats, want)
	}
	stats, err = c.Push(limit(t), base+"/src", base+"/up", guest.PushOptions{})
	if err != nil || len(stats.Skipped) != 2 || stats.Files != 7 {
		t.Errorf("push: got %+v, %v, want the pipe skipped and every link there", stats, err)
	}
}

// TestPushOwner: everything that a push makes belongs to the user, and nothing
// is written through a link in the tree.
func TestPushOwner(t *testing.T) {
	must(t, os.Getuid() == 0, "root")
	c := guesttest.Process(t, "")
	base := openTemp(t)
	write(t, base+"/src/d/f", "new", 0o644)
	write(t, base+"/outside/f", "old", 0o644)
	if err := os.Symlink("f", base+"/src/d/l"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(limit(t), base+"/src", base+"/made/too/src", guest.PushOptions{User: "daemon"}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/made", "/made/too", "/made/too/src", "/made/too/src/d", "/made/too/src/d/f", "/made/too/src/d/l"} {
		var st unix.Stat_t
		if err := unix.Lstat(base+path, &st); err != nil || st.Uid != 1 || st.Gid != 1 {
			t.Errorf("%s: got owner %d:%d, %v, want daemon", path, st.Uid, st.Gid, err)
		}
	}
	// The subject plants a link where the tree has a folder.
	os.MkdirAll(base+"/made/trap", 0o777)
	if err := os.Symlink(base+"/outside", base+"/made/trap/d"); err != nil {
		t.Fatal(err)
	}
	_, err := c.Push(limit(t), base+"/src/d", base+"/made/trap/", guest.PushOptions{})
	if err == nil || !strings.Contains(err.Error(), "something else than a folder") {
		t.Errorf("got %v, want a refusal", err)
	}
	// And where it has a file: the link is replaced, not followed.
	os.MkdirAll(base+"/made/trap2/d", 0o777)
	if err := os.Symlink(base+"/outside/f", base+"/made/trap2/d/f"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Push(limit(t), base+"/src/d", base+"/made/trap2/", guest.PushOptions{}); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(base + "/outside/f"); err != nil || string(b) != "old" {
		t.Errorf("got %q, %v outside, want it untouched", b, err)
	}
}

func TestReadAndWriteFile(t *testing.T) {
	c := guesttest.Process(t, "")
	base := openTemp(t)
	for _, data := range [][]byte{nil, []byte("x"), random(3 << 20)} {
		if err := c.WriteFile(limit(t), base+"/new/dir/file ä", data, 0o640, ""); err != nil {
			t.Fatal(err)
		}
		got, err := c.ReadFile(limit(t), base+"/new/dir/file ä", 4<<20)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(data))
		}
	}
	info, err := os.Stat(base + "/new/dir/file ä")
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	if _, err := c.ReadFile(limit(t), base+"/new/dir/file ä", 100); !errors.Is(err, guest.ErrLimit) {
		t.Errorf("got %v, want ErrLimit", err)
	}
	if _, err := c.ReadFile(limit(t), base+"/none", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if _, err := c.ReadFile(limit(t), "/dev/zero", 100); err == nil {
		t.Error("a device is read")
	}
	if b, err := c.ReadFile(limit(t), "/proc/self/stat", 1<<16); err != nil || len(b) == 0 {
		t.Errorf("got %d bytes of a file of /proc, %v", len(b), err)
	}
	entries, err := os.ReadDir(base + "/new/dir")
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want one file and no leftovers", entries, err)
	}
}
