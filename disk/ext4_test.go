package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kinds are file systems that differ in how they lie on the disk.
var kinds = []struct {
	name    string
	options []string
	mounts  bool // the kernel's view is compared too
}{
	{"ext4", []string{"-t", "ext4"}, true},
	{"ext2", []string{"-t", "ext2", "-b", "1024"}, true},
	{"ext2-old", []string{"-t", "ext2", "-b", "4096", "-r", "0"}, false},
	{"ext2-4k-without-filetype", []string{"-t", "ext2", "-b", "4096", "-O", "^filetype"}, true},
	{"ext3-128", []string{"-t", "ext3", "-b", "1024", "-I", "128"}, true},
	{"ext4-1k-bigalloc", []string{"-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384"}, true},
	{"ext4-2k-1024", []string{"-t", "ext4", "-b", "2048", "-I", "1024", "-O", "inline_data"}, true},
	{"ext4-inline", []string{"-t", "ext4", "-b", "4096", "-O", "inline_data"}, true},
	{"ext4-128", []string{"-t", "ext4", "-b", "4096", "-I", "128"}, true},
	{"ext4-old", []string{"-t", "ext4", "-O", "^64bit,^metadata_csum,^flex_bg,^resize_inode,uninit_bg"}, true},
	{"ext4-meta_bg", []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode,ea_inode,large_dir"}, true},
	{"ext4-meta_bg-32", []string{"-t", "ext4", "-b", "1024", "-g", "512", "-O", "meta_bg,^resize_inode,^64bit,^sparse_super"}, true},
	{"ext4-sparse_super2", []string{"-t", "ext4", "-b", "4096", "-g", "1024", "-O", "sparse_super2,meta_bg,^resize_inode,metadata_csum_seed"}, true},
	{"ext4-casefold", []string{"-t", "ext4", "-O", "casefold,verity,quota,project,encrypt"}, false},
	{"ext4-orphan_file", []string{"-t", "ext4", "-O", "orphan_file,fast_commit,mmp", "-E", "mmp_update_interval=1"}, true},
	{"ext4-64k", []string{"-t", "ext4", "-b", "65536", "-O", "^has_journal"}, false},
	{"ext4-no-extents", []string{"-t", "ext4", "-O", "^extents,^64bit,^has_journal"}, true},
}

// TestMke2fs compares what is read with the tree that mke2fs copied, for which it
// needs no mount.
func TestMke2fs(t *testing.T) {
	need(t, "mke2fs")
	from := t.TempDir()
	populate(t, from, hasXattrs(t, from))
	want := kernels(t, from)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			mib := int64(32)
			if k.name == "ext4-64k" {
				mib = 128
			}
			image := mke2fs(t, from, mib, append([]string{"-N", "2048"}, k.options...)...)
			got := ours(t, open(t, image))
			delete(got, "/lost+found")
			wide := !strings.HasSuffix(k.name, "128") && !strings.HasPrefix(k.name, "ext2") && !strings.HasPrefix(k.name, "ext3")
			same(t, copied(got, wide), copied(want, wide))
		})
	}
}

// hasXattrs reports whether files below dir can have extended attributes and
// access lists.
func hasXattrs(t testing.TB, dir string) bool {
	_, err := lxattrs(dir)
	return err == nil
}

// copied is the part of a view that mke2fs copies: the root's own owner, times
// and folders' sizes are its own.
func copied(v view, xattrs bool) view {
	out := view{}
	for path, text := range v {
		f := strings.Fields(text)
		at := func(word string) int {
			for k, x := range f {
				if x == word {
					return k
				}
			}
			return 0
		}
		if f[1][0] == '4' { // a folder
			f[9], f[7] = "", ""
		}
		kept := append(append([]string{}, f[:12]...), f[at("xattrs"):]...)
		if !xattrs {
			kept = append(append([]string{}, f[:12]...), f[at("content"):]...)
		}
		out[path] = strings.Join(kept, " ")
	}
	delete(out, "/")
	return out
}

// TestKernel compares what is read with what the kernel reads, of file systems
// that the kernel itself filled.
func TestKernel(t *testing.T) {
	for _, k := range kinds {
		if !k.mounts {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			image := mke2fs(t, "", 32, append([]string{"-N", "2048"}, k.options...)...)
			dir := mount(t, image, "noatime")
			populate(t, dir, true)
			if k.name == "ext4-meta_bg" { // it has ea_inode
				must(t, unix.Setxattr(filepath.Join(dir, "a/small"), "user.huge", pattern(40_000), 0))
			}
			churn(t, dir)
			umount(t, dir)
			dir = mount(t, image, "ro")
			want := kernels(t, dir)
			umount(t, dir)
			fs := open(t, image)
			same(t, ours(t, fs), want)
			countInodes(t, fs, want)
		})
	}
}

// churn removes, renames and shortens.
func churn(t *testing.T, dir string) {
	at := func(name string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(name, args...)) }
	for k := 0; k < 700; k += 3 {
		must(t, os.Remove(at("many/a-rather-long-name-of-a-file-%04d", k)))
	}
	must(t, os.Rename(at("a/b/hard"), at("many/renamed")), os.Truncate(at("a/b/big"), 1_234_567), os.Remove(at("a/slow60")))
	f, err := os.Create(at("reserved"))
	must(t, err)
	_, err = f.Write([]byte("begin"))
	must(t, err)
	// Without extents nothing can be reserved.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 1<<20); err == nil {
		_, err = f.WriteAt([]byte("in the middle"), 500_000)
		must(t, err)
	}
	must(t, f.Close())
}

// countInodes compares the inodes in use with the superblock's count, and with
// those that have a path.
func countInodes(t *testing.T, fs *Ext4, want view) {
	t.Helper()
	free := le.Uint32(fs.super.raw[0x10:])
	used := map[uint32]bool{}
	for n := range uint32(10) { // reserved ones are in use even if they are empty
		used[n+1] = true
	}
	for i, err := range fs.Inodes() {
		must(t, err)
		used[i.Number] = true
	}
	if got, want := len(used), int(fs.super.inodes-free); got != want {
		t.Errorf("%d inodes are in use, want %d", got, want)
	}
	for path, text := range want {
		_, rest, _ := strings.Cut(text, " ino ")
		var n uint32
		if _, err := fmt.Sscan(rest, &n); err != nil || !used[n] {
			t.Errorf("%s: inode %d is not in use: %v", path, n, err)
		}
	}
}
