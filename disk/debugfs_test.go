package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// debugged is an image that debugfs changed by hand, where no kernel is at hand.
func debugged(t *testing.T, options ...string) string {
	t.Helper()
	from := t.TempDir()
	populate(t, from, false)
	value := filepath.Join(t.TempDir(), "value")
	must(t, os.WriteFile(value, bytes.Repeat([]byte("large"), 700), 0o600))
	image := mke2fs(t, from, 32, append([]string{"-t", "ext4", "-N", "2048"}, options...)...)
	debugfs(t, image,
		"cd /a", "mknod tty c 4 64", "mknod disk8 b 259 70000", "mknod pipe p", "symlink short target", "symlink long "+strings.Repeat("t/", 200)+"t",
		"ea_set small user.one value", "ea_set -f "+value+" small user.large", "ea_set pipe trusted.x y",
		"sif small uid 100000", "sif small gid 4000000000", "sif small mtime @5000000000", "sif small crtime @6000000000",
		"sif small atime @-5", "sif b/big mode 0104755", "rm /many/a-rather-long-name-of-a-file-0100", "unlink /many/a-rather-long-name-of-a-file-0101",
		"ln small other-name", "mkdir /many/new")
	return image
}

// TestDebugfs compares with what debugfs says of single files.
func TestDebugfs(t *testing.T) {
	for name, options := range map[string][]string{
		"ea_inode": {"-b", "1024", "-O", "ea_inode"},
		"inline":   {"-b", "4096", "-O", "inline_data"},
		"128":      {"-b", "4096", "-I", "128"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image := debugged(t, options...)
			fs := open(t, image)
			compareStats(t, fs, image)
			compareFolder(t, fs, image)
			compareValues(t, fs, image)
		})
	}
}

var debugfsFields = regexp.MustCompile(`(Mode|User|Group|Size|Links|Flags|Blockcount|[acm]time|crtime): *(0x[0-9a-f]+:[0-9a-f]+|0x[0-9a-f]+|\d+)`)

var debugfsTypes = map[string]uint32{
	"regular": modeReg, "directory": modeDir, "symlink": modeLink, "FIFO": modeFIFO, "character": modeChar, "block": modeBlk, "socket": modeSock,
}

// compareStats compares all inodes of files with debugfs's words.
func compareStats(t *testing.T, fs *Ext4, image string) {
	t.Helper()
	var asked []string
	for i, err := range fs.Inodes() {
		must(t, err)
		if i.Number >= 11 || i.Number == Root {
			asked = append(asked, fmt.Sprintf("stat <%d>", i.Number))
		}
	}
	said := strings.Split(debugfs(t, image, asked...), "debugfs: stat <")[1:]
	if len(said) != len(asked) || len(said) < 700 {
		t.Fatalf("debugfs tells of %d inodes, want %d", len(said), len(asked))
	}
	for _, text := range said {
		number, rest, _ := strings.Cut(text, ">")
		n, err := strconv.Atoi(number)
		must(t, err)
		i, err := fs.Inode(uint32(n))
		must(t, err)
		compareStat(t, fs, i, rest)
	}
}

// compareStat compares an inode with debugfs's words.
func compareStat(t *testing.T, fs *Ext4, i *Inode, said string) {
	t.Helper()
	kind := strings.Fields(said[strings.Index(said, "Type: ")+6:])[0]
	stamp := func(ns int64) string {
		sec := (ns - (ns%1e9+1e9)%1e9) / 1e9
		epoch := (sec - int64(int32(sec))) >> 32 & 3
		if fs.super.inodeSize == 128 {
			return fmt.Sprintf("0x%08x", uint32(sec))
		}
		return fmt.Sprintf("0x%08x:%08x", uint32(sec), uint32((ns%1e9+1e9)%1e9)<<2|uint32(epoch))
	}
	ours := map[string]string{
		"Mode": fmt.Sprintf("0%03o", i.Mode&0xFFF), "User": fmt.Sprint(i.UID), "Group": fmt.Sprint(i.GID), "Size": fmt.Sprint(i.Size),
		"Links": fmt.Sprint(i.Nlink), "Flags": fmt.Sprintf("%#x", i.Flags), "Blockcount": fmt.Sprint(i.Blocks),
		"atime": stamp(i.Atime), "mtime": stamp(i.Mtime), "ctime": stamp(i.Ctime), "crtime": stamp(i.Btime),
	}
	said = strings.Replace(said, "Fragment:  Address: 0    Number: 0    Size: 0", "", 1)
	for _, m := range debugfsFields.FindAllStringSubmatch(said, -1) {
		if got := ours[m[1]]; got != m[2] {
			t.Errorf("inode %d: %s: got %s, debugfs says %s", i.Number, m[1], got, m[2])
		}
	}
	if i.Mode&modeType != debugfsTypes[kind] {
		t.Errorf("inode %d: mode %o, debugfs says %s", i.Number, i.Mode, kind)
	}
	if m := regexp.MustCompile(`major/minor number: (\d+):(\d+)`).FindStringSubmatch(said); m != nil {
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		if got, want := i.Rdev, rdev(0, uint32(minor&0xFF|major<<8|minor&^0xFF<<12)); got != want {
			t.Errorf("inode %d: device %#x, want %#x (%s)", i.Number, got, want, m[0])
		}
	}
}

// compareFolder compares the names in a large folder.
func compareFolder(t *testing.T, fs *Ext4, image string) {
	t.Helper()
	var want, got []string
	for line := range strings.Lines(debugfs(t, image, "ls -p /many")) {
		if f := strings.Split(line, "/"); len(f) > 5 && f[1] != "0" && f[5] != "." && f[5] != ".." {
			want = append(want, f[1]+" "+f[5])
		}
	}
	must(t, fs.Walk(func(path string, i *Inode, err error) error {
		if path == "/many" {
			list, err := fs.ReadDir(i.Number)
			for _, e := range list {
				got = append(got, fmt.Sprintf("%d %s", e.Ino, e.Name))
			}
			return err
		}
		return err
	}))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(got) < 600 {
		t.Errorf("/many: got %d names, debugfs lists %d", len(got), len(want))
	}
}

// compareValues compares attributes and links.
func compareValues(t *testing.T, fs *Ext4, image string) {
	t.Helper()
	v := ours(t, fs)
	n := number(t, v["/a/small"])
	got, err := fs.Xattrs(n)
	must(t, err)
	if string(got["user.one"]) != "value" || string(got["user.large"]) != strings.Repeat("large", 700)[:min(3500, fs.bs)] { // debugfs takes no more than a block
		t.Errorf("attributes: got %q and %d bytes", got["user.one"], len(got["user.large"]))
	}
	if text := v["/a/long"]; !strings.HasSuffix(text, strings.Repeat("t/", 200)+"t") {
		t.Errorf("a long link: got %s", text)
	}
}

// TestManyReaders reads one file system from many goroutines.
func TestManyReaders(t *testing.T) {
	need(t, "qemu-img")
	from := t.TempDir()
	populate(t, from, false)
	packed := filepath.Join(memory(t), "packed")
	tool(t, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", mke2fs(t, from, 32, "-t", "ext4", "-N", "2048"), packed)
	d := openChain(t, []Layer{{packed, "qcow2"}})
	fs, err := OpenExt4(d, d.Size())
	must(t, err)
	views := make([]view, 4)
	var wait sync.WaitGroup
	for k := range views {
		wait.Go(func() { views[k] = ours(t, fs) })
	}
	wait.Wait()
	for _, v := range views[1:] {
		same(t, v, views[0])
	}
}

// TestRefusedFileSystems proves that what cannot be read right is not read.
func TestRefusedFileSystems(t *testing.T) {
	clean := small(t, "-t", "ext4", "-O", "^metadata_csum")
	summed := small(t, "-t", "ext4", "-O", "metadata_csum")
	journal := dirty(t)
	for _, c := range []struct {
		name        string
		image       []byte
		at          int
		value       byte
		unsupported bool
	}{
		{"compression", clean, superAt + 0x60, clean[superAt+0x60] | 1, true},
		{"dirdata", clean, superAt + 0x61, clean[superAt+0x61] | 0x10, true},
		{"unknown feature", clean, superAt + 0x63, 0x80, true},
		{"external journal", journal, superAt + 0xE0, 0, true},
		{"magic", clean, superAt + 0x38, 0, false},
		{"block size", clean, superAt + 0x18, 200, false},
		{"too many blocks", clean, superAt + 6, 1, false},
		{"inode count", clean, superAt, clean[superAt] + 1, false},
		{"checksum", summed, superAt + 0x10, summed[superAt+0x10] + 1, false},
	} {
		b := bytes.Clone(c.image)
		b[c.at] = c.value
		_, err := OpenExt4(bytes.NewReader(b), int64(len(b)))
		var damage *CorruptError
		if c.unsupported != errors.Is(err, errors.ErrUnsupported) || c.unsupported == errors.As(err, &damage) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if _, err := OpenExt4(bytes.NewReader(c.image), int64(len(c.image))); err != nil {
			t.Errorf("%s: untouched: %v", c.name, err)
		}
	}
	if _, err := OpenExt4(bytes.NewReader(clean), int64(len(clean))-1024); err == nil {
		t.Error("a disk that was cut: got no error")
	}
}

// TestEncrypted proves that what the guest encrypted is refused by itself.
func TestEncrypted(t *testing.T) {
	from := t.TempDir()
	must(t, os.Mkdir(filepath.Join(from, "dir"), 0o755), os.WriteFile(filepath.Join(from, "file"), []byte("x"), 0o600), os.WriteFile(filepath.Join(from, "open"), []byte("x"), 0o600))
	image := mke2fs(t, from, 4, "-t", "ext4", "-O", "encrypt")
	debugfs(t, image, "sif /dir flags 0x80800", "sif /file flags 0x80800")
	fs := open(t, image)
	refused := 0
	must(t, fs.Walk(func(path string, i *Inode, err error) error {
		if err == nil && i.Mode&modeType == modeReg {
			_, err = fs.OpenInode(i)
		}
		if errors.Is(err, errors.ErrUnsupported) {
			if refused++; path == "/open" {
				t.Errorf("%s is refused", path)
			}
			return nil
		}
		return err
	}))
	if refused != 2 {
		t.Errorf("%d are refused, want 2", refused)
	}
}

// TestDamaged proves that a wrong checksum is seen, of an inode and in a journal.
func TestDamaged(t *testing.T) {
	image := small(t, "-t", "ext4", "-O", "metadata_csum")
	fs, err := OpenExt4(bytes.NewReader(image), int64(len(image)))
	must(t, err)
	root, err := fs.Inode(Root)
	must(t, err)
	if root.Damaged {
		t.Error("the root is damaged from the beginning")
	}
	image[root.at+2]++
	fs, err = OpenExt4(bytes.NewReader(image), int64(len(image)))
	must(t, err)
	if root, err = fs.Inode(Root); err != nil || !root.Damaged {
		t.Errorf("another owner: damage is not seen: %v", err)
	}
}
