package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTouched changes files one at a time, on a file system that the kernel
// writes to: every path that reads otherwise must have a touched inode, and
// those that do not lie near must not.
func TestTouched(t *testing.T) {
	for name, options := range map[string][]string{
		"extents":  {"-t", "ext4", "-b", "4096", "-O", "ea_inode"},
		"indirect": {"-t", "ext2", "-b", "1024"},
		"inline":   {"-t", "ext4", "-b", "1024", "-O", "inline_data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := mke2fs(t, "", 32, append([]string{"-N", "2048"}, options...)...)
			dir := mount(t, image, "noatime")
			populate(t, dir, true)
			umount(t, dir)
			for what, change := range changes {
				before := copyFile(t, image, filepath.Join(memory(t), "before"))
				dir := mount(t, image, "noatime")
				change(t, dir)
				umount(t, dir)
				checkTouched(t, what, before, image)
			}
		})
	}
}

var changes = map[string]func(*testing.T, string){
	"nothing": func(*testing.T, string) {},
	"content with its times put back": func(t *testing.T, dir string) {
		path := filepath.Join(dir, "a/b/big")
		i, err := lstat(path)
		must(t, err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte("hidden"), 2_000_000)
		must(t, err, f.Close(), os.Chtimes(path, asTime(0, i.Atime), asTime(0, i.Mtime)))
	},
	"mode": func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, "a/fifo"), 0o644)) },
	"a hole is filled": func(t *testing.T, dir string) {
		f, err := os.OpenFile(filepath.Join(dir, "a/sparse"), os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt([]byte("land"), 40<<20)
		must(t, err, f.Close())
	},
	"attributes": func(t *testing.T, dir string) {
		must(t, unix.Setxattr(filepath.Join(dir, "a/b/big"), "user.large", []byte(strings.Repeat("w", 800)), 0))
	},
	"names": func(t *testing.T, dir string) {
		must(t, os.Remove(filepath.Join(dir, "many/a-rather-long-name-of-a-file-0333")), os.Symlink("x", filepath.Join(dir, "a/new")))
	},
}

func checkTouched(t *testing.T, what, before, after string) {
	t.Helper()
	a, b := openChain(t, []Layer{{before, "raw"}}), openChain(t, []Layer{{after, "raw"}})
	old, now := open(t, before), open(t, after)
	if same, err := now.LaidOutLike(old); err != nil || !same {
		t.Errorf("%s: not laid out alike: %v", what, err)
	}
	changed, err := Differing(a, b, Extents{{0, b.Size()}}, 256)
	must(t, err)
	set, err := now.Touched(changed)
	must(t, err)
	was, is := ours(t, old), ours(t, now)
	alike, loose := 0, 0
	for path, text := range is {
		n := number(t, text)
		switch {
		case was[path] != text && !set.Has(n):
			t.Errorf("%s: %s: inode %d is not touched:\nwas %s\n is %s", what, path, n, was[path], text)
		case was[path] == text && set.Has(n):
			loose++
		case was[path] == text:
			alike++
		}
	}
	// Parents of new names, and files whose blocks are moved.
	if loose > 10 || alike < 500 {
		t.Errorf("%s: %d inodes are touched though their files read alike, and %d are not", what, loose, alike)
	}
	if what == "nothing" && loose > 0 {
		t.Errorf("nothing changed, but %v are touched", slices.Collect(set.All()))
	}
}

// number is the inode's in a description.
func number(t *testing.T, text string) uint32 {
	t.Helper()
	_, rest, _ := strings.Cut(text, " ino ")
	var n uint32
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTouchedByEveryBlock changes every block of a file's data, map and
// attributes, and its entry, one at a time.
func TestTouchedByEveryBlock(t *testing.T) {
	from := t.TempDir()
	populate(t, from, true)
	for _, kind := range []string{"ext4", "ext2"} {
		fs := open(t, mke2fs(t, from, 32, "-t", kind, "-b", "1024", "-I", "256", "-N", "2048"))
		seen := 0
		for i, err := range fs.Inodes() {
			must(t, err)
			if i.Number < 11 || seen > 60 && i.acl == 0 {
				continue
			}
			var spots []int64
			must(t, fs.visit(i, visitor{
				data: func(r run) error { spots = append(spots, int64(r.block+r.n-1)*fs.bs+fs.bs-1); return nil },
				node: func(b uint64) error { spots = append(spots, int64(b)*fs.bs+7); return nil },
			}))
			spots = append(spots[:min(len(spots), 4)], spots[max(0, len(spots)-4):]...)
			spots = append(spots, i.at, i.at+255)
			if i.acl != 0 {
				spots = append(spots, int64(i.acl)*fs.bs+500)
			}
			for _, at := range spots {
				set, err := fs.Touched(Extents{{at, 1}})
				must(t, err)
				if !set.Has(i.Number) {
					t.Fatalf("%s: byte %d is inode %d's, which is not touched", kind, at, i.Number)
				}
				if all := len(slices.Collect(set.All())); all > 1 && at < i.at || all > 40 {
					t.Fatalf("%s: byte %d touches %d inodes", kind, at, all)
				}
			}
			seen++
		}
	}
}

// TestValueInode changes a value that has an inode of its own.
func TestValueInode(t *testing.T) {
	image := mke2fs(t, "", 16, "-t", "ext4", "-O", "ea_inode")
	dir := mount(t, image, "noatime")
	path := filepath.Join(dir, "file")
	must(t, os.WriteFile(path, []byte("x"), 0o600), unix.Setxattr(path, "user.huge", pattern(30_000), 0))
	owner, err := lstat(path)
	must(t, err)
	umount(t, dir)
	fs := open(t, image)
	values := 0
	for i, err := range fs.Inodes() {
		must(t, err)
		if i.Flags&flagEAInode == 0 {
			continue
		}
		values++
		must(t, fs.visit(i, visitor{data: func(r run) error {
			set, err := fs.Touched(Extents{{int64(r.block) * fs.bs, 1}})
			if err == nil && !set.Has(owner.Number) {
				t.Error("the file whose attribute changed is not touched")
			}
			return err
		}}))
	}
	if values != 1 {
		t.Errorf("%d values have inodes, want 1", values)
	}
}
