package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// skip skips, or fails if ASSAY_MUST_RUN names word.
func skip(t testing.TB, word, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), word) {
		t.Fatalf("%s must run here (ASSAY_MUST_RUN): %s", word, why)
	}
	t.Skip(why)
}

func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, "tools", err.Error())
		}
	}
}

// run runs a tool and returns its standard output.
func tool(t testing.TB, argv ...string) string {
	t.Helper()
	return toolInput(t, "", argv...)
}

func toolInput(t testing.TB, input string, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s%s", strings.Join(argv, " "), err, out, errs.String())
	}
	return string(out)
}

// debugfs runs commands on an image, which it may change.
func debugfs(t testing.TB, image string, commands ...string) string {
	t.Helper()
	cmd := exec.Command("debugfs", "-w", "-f", "-", image)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("debugfs: %v: %s", err, out)
	}
	return string(out)
}

// mke2fs makes a file system of some MiB with the tree below from.
func mke2fs(t testing.TB, from string, mib int64, options ...string) string {
	t.Helper()
	need(t, "mke2fs", "debugfs", "e2fsck")
	image := filepath.Join(memory(t), "fs")
	// What nobody writes to is full of rubbish, as on a used disk.
	must(t, os.WriteFile(image, bytes.Repeat([]byte("rubbish\xff"), int(mib)<<17), 0o600))
	argv := append([]string{"mke2fs", "-q", "-F", "-K"}, options...)
	if from != "" {
		argv = append(argv, "-d", from)
	}
	tool(t, append(argv, image)...)
	return image
}

// memory makes a folder in memory, where there is such a place: a mounted image is
// written through to its disk again and again.
func memory(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "disk-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, image string) *Ext4 {
	t.Helper()
	d, err := Open([]Layer{{image, "raw"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	fs, err := OpenExt4(d, d.Size())
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func copyFile(t testing.TB, from, to string) string {
	t.Helper()
	tool(t, "cp", "--sparse=always", from, to)
	return to
}

// mount mounts a copy of nothing: the image itself. It is unmounted at the end.
func mount(t testing.TB, image string, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "mount", "only root can mount")
	}
	dir := t.TempDir()
	out, err := exec.Command("mount", "-o", "loop,"+options, image, dir).CombinedOutput()
	if err != nil {
		skip(t, "mount", fmt.Sprintf("mount -o loop,%s: %v: %s", options, err, out))
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	return dir
}

// umount tries again for a while: a program that another test is starting may
// still hold what it inherits.
func umount(t testing.TB, dir string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, err := exec.Command("umount", dir).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("umount: %v: %s", err, out)
		}
	}
}

// A view is what somebody sees of a tree: for each path, a description.
type view map[string]string

// describe is all that is compared of a file.
func describe(i *Inode, xattrs map[string][]byte, content string) string {
	keys := slices.Sorted(func(yield func(string) bool) {
		for k, v := range xattrs {
			if !yield(fmt.Sprintf("%s=%x", k, v)) {
				return
			}
		}
	})
	return fmt.Sprintf("mode %o uid %d gid %d nlink %d size %d rdev %x times %d %d %d ino %d xattrs %v content %s",
		i.Mode, i.UID, i.GID, i.Nlink, i.Size, i.Rdev, i.Atime, i.Mtime, i.Ctime, i.Number, keys, content)
}

// ours is what this room sees.
func ours(t testing.TB, x *Ext4) view {
	t.Helper()
	v := view{}
	err := x.Walk(func(path string, i *Inode, err error) error {
		if err != nil {
			return err
		}
		if i.Damaged {
			return fmt.Errorf("%s: inode %d is damaged", path, i.Number)
		}
		xattrs, err := x.InodeXattrs(i)
		if err != nil {
			return err
		}
		content, err := ourContent(x, i)
		v[path] = describe(i, xattrs, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func ourContent(x *Ext4, i *Inode) (string, error) {
	switch i.Mode & modeType {
	case modeReg:
		f, err := x.OpenInode(i)
		if err != nil {
			return "", err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		return fmt.Sprintf("%x", h.Sum(nil)), err
	case modeLink:
		return x.Readlink(i.Number)
	}
	return "", nil
}

// kernels is what the kernel sees of a mounted file system.
func kernels(t testing.TB, root string) view {
	t.Helper()
	v := view{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := lstat(path)
		if err != nil {
			return err
		}
		content := ""
		switch i.Mode & modeType {
		case modeReg:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%x", sha256.Sum256(b))
		case modeLink:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		xattrs, err := lxattrs(path)
		v["/"+strings.TrimPrefix(strings.TrimPrefix(path, root), "/")] = describe(i, xattrs, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func lstat(path string) (*Inode, error) {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return nil, err
	}
	return &Inode{Number: uint32(s.Ino), Mode: s.Mode, UID: s.Uid, GID: s.Gid, Nlink: uint32(s.Nlink), Size: s.Size, Rdev: s.Rdev,
		Atime: s.Atim.Nano(), Mtime: s.Mtim.Nano(), Ctime: s.Ctim.Nano()}, nil
}

func lxattrs(path string) (map[string][]byte, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		b := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, b)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		out[name] = b[:n]
	}
	return out, nil
}

// same compares views, and says which paths differ.
func same(t testing.TB, got, want view) {
	t.Helper()
	n := 0
	for path, w := range want {
		if g, ok := got[path]; !ok {
			t.Errorf("%s: not found", path)
		} else if g != w {
			t.Errorf("%s:\n got %s\nwant %s", path, g, w)
		} else {
			continue
		}
		if n++; n > 10 {
			t.Fatal("and more")
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s: found, but is not there", path)
		}
	}
	if len(want) == 0 {
		t.Error("nothing to compare with")
	}
}

// must fails the test for the first error.
func must(t testing.TB, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// populate fills a folder with files of every kind. xattrs says whether the
// folder's file system must have extended attributes.
func populate(t testing.TB, dir string, xattrs bool) {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, b []byte) {
		must(t, os.WriteFile(at(name), b, 0o644))
	}
	must(t, os.MkdirAll(at("a/b/c"), 0o755), os.Mkdir(at("many"), 0o1777), os.Mkdir(at("empty"), 0o700))
	write("a/small", []byte("hello\n"))
	write("a/none", nil)
	write("a/b/inline100", bytes.Repeat([]byte("i"), 100))
	write("a/b/big", pattern(3_000_000))
	write("name with \n and ä", []byte("x"))
	write(strings.Repeat("n", 255), []byte("long name"))
	for k := range 700 {
		write(fmt.Sprintf("many/a-rather-long-name-of-a-file-%04d", k), fmt.Appendf(nil, "%d", k))
	}
	sparse(t, at("a/sparse"))
	fragments(t, dir)
	must(t, os.Symlink("b/big", at("a/fast")), os.Symlink(strings.Repeat("s", 59), at("a/fast59")),
		os.Symlink(strings.Repeat("s", 60), at("a/slow60")), os.Symlink(strings.Repeat("d/", 500)+"end", at("a/slow")),
		os.Link(at("a/small"), at("a/b/hard")), syscall.Mkfifo(at("a/fifo"), 0o600))
	must(t, os.Chtimes(at("a/small"), asTime(-86400*365*5, 123456789), asTime(1<<33, 999999999)))
	if os.Geteuid() == 0 {
		must(t, syscall.Mknod(at("a/null"), syscall.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
			syscall.Mknod(at("a/disk"), syscall.S_IFBLK|0o660, int(unix.Mkdev(259, 300))),
			os.Lchown(at("a/b/big"), 100_000, 3_000_000_000), os.Chmod(at("a/b/big"), 0o4755|os.ModeSetuid))
	}
	if xattrs {
		setXattrs(t, dir)
	}
}

// pattern returns n bytes that differ from block to block.
func pattern(n int) []byte {
	b := make([]byte, n)
	for k := range b {
		b[k] = byte(k>>10)*31 + byte(k)
	}
	return b
}

// sparse makes a file of 68 MiB with three pieces, in the reach of triple
// indirection for small blocks.
func sparse(t testing.TB, path string) {
	f, err := os.Create(path)
	must(t, err)
	for _, off := range []int64{0, 5 << 20, 68 << 20} {
		_, err := f.WriteAt([]byte("island"), off)
		must(t, err)
	}
	must(t, f.Close())
}

// fragments makes a file with a hole after every block, whose tree is deep.
func fragments(t testing.TB, dir string) {
	f, err := os.Create(filepath.Join(dir, "fragments"))
	must(t, err)
	for k := range int64(1500) {
		_, err := f.WriteAt(fmt.Appendf(nil, "fragment %d", k), k*8192)
		must(t, err)
	}
	must(t, f.Close())
}

// setXattrs gives files attributes of every kind.
func setXattrs(t testing.TB, dir string) {
	at := func(name string) string { return filepath.Join(dir, name) }
	set := func(name, key, value string) {
		t.Helper()
		if err := unix.Lsetxattr(at(name), key, []byte(value), 0); err != nil {
			t.Fatalf("%s: %s: %v", name, key, err)
		}
	}
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	set("a/small", "user.note", "hello")
	set("a/small", "user.empty", "")
	set("a/b/big", "user.large", strings.Repeat("v", 800))
	set("a/b/big", "system.posix_acl_access", acl)
	set("a/b", "system.posix_acl_default", acl)
	if os.Geteuid() == 0 {
		set("a/b/inline100", "security.capability", "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
		set("a/slow", "trusted.note", strings.Repeat("t", 300))
		set("a/null", "trusted.device", "yes")
	}
}

func asTime(s, ns int64) time.Time { return time.Unix(s, ns) }
