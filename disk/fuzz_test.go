package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A patch overlays bytes of a seed: fuzzing whole images would try little else
// than their zeroes.
type patched struct {
	image []byte
	patch []byte // again and again: 3 bytes of offset, in steps, and one of value
	step  int
}

// bytes returns the image with its patches.
func (p patched) bytes() []byte {
	b := slices.Clone(p.image)
	for k := 0; k+4 <= len(p.patch); k += 4 {
		at := (int(p.patch[k])<<16 | int(p.patch[k+1])<<8 | int(p.patch[k+2])) * p.step
		b[at%len(b)] = p.patch[k+3]
	}
	return b
}

// small makes a small real file system with a bit of everything.
func small(t testing.TB, options ...string) []byte {
	from := t.TempDir()
	at := func(name string) string { return filepath.Join(from, name) }
	must(t, os.MkdirAll(at("a/b"), 0o755), os.WriteFile(at("a/file"), pattern(30_000), 0o644), os.Symlink("file", at("a/link")),
		os.WriteFile(at("a/tiny"), []byte("tiny"), 0o600), os.Symlink(string(bytes.Repeat([]byte("l"), 100)), at("a/b/long")))
	for k := range 40 {
		must(t, os.WriteFile(at("a/b/"+string(rune('A'+k))), nil, 0o600))
	}
	image := mke2fs(t, from, 1, append([]string{"-b", "1024", "-N", "64"}, options...)...)
	debugfs(t, image, "ea_set /a/file user.note value", "ea_set /a/file security.capability xxxxxxxxxxxxxxxx")
	b, err := os.ReadFile(image)
	must(t, err)
	return b
}

// readAll reads everything there is, and fails for what no input may cause.
func readAll(t testing.TB, image []byte) {
	fs, err := OpenExt4(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		return
	}
	if _, err := fs.Touched(Extents{{5000, 3000}}); err != nil && !expected(err) {
		t.Errorf("touched: %v", err)
	}
	fs.Orphans()
	for _, err := range fs.Inodes() {
		if err != nil && !expected(err) {
			t.Errorf("inodes: %v", err)
		}
	}
	paths := 0
	fs.Walk(func(path string, i *Inode, err error) error {
		if paths++; err != nil && !expected(err) {
			t.Errorf("%q: %v", path, err)
		}
		if i != nil && err == nil {
			readInode(t, fs, i)
		}
		return nil
	})
	if paths > len(image)/8 {
		t.Errorf("%d paths in %d bytes", paths, len(image))
	}
}

func readInode(t testing.TB, fs *Ext4, i *Inode) {
	if _, err := fs.InodeXattrs(i); err != nil && !expected(err) {
		t.Errorf("attributes: %v", err)
	}
	fs.Readlink(i.Number)
	f, err := fs.OpenInode(i)
	if err != nil {
		return
	}
	b := make([]byte, 5000)
	for _, off := range []int64{0, 777, f.Size() - 100} {
		if n, err := f.ReadAt(b, max(0, off)); err != nil && err != io.EOF && !expected(err) {
			t.Errorf("read: %d, %v", n, err)
		}
	}
}

// expected reports whether an error is one that contents may cause.
func expected(err error) bool {
	var damage *CorruptError
	return errors.As(err, &damage) || errors.Is(err, errors.ErrUnsupported)
}

// FuzzExt4 reads file systems that somebody tampered with.
func FuzzExt4(f *testing.F) {
	// Without checksums, so that what is tampered with is read.
	seeds := [][]byte{
		small(f, "-t", "ext4", "-O", "^metadata_csum,inline_data,ea_inode"),
		small(f, "-t", "ext2", "-O", "^has_journal"),
		dirty(f),
	}
	for k := range seeds {
		f.Add(uint8(k), uint8(1), []byte{0, 4, 0x18, 6})
		f.Add(uint8(k), uint8(4), []byte{0, 1, 0x3A, 0xFF, 0, 1, 0x18, 2})
		f.Add(uint8(k), uint8(2), bytes.Repeat([]byte{1, 2, 3, 4, 5}, 20))
	}
	f.Fuzz(func(t *testing.T, seed, step uint8, patch []byte) {
		image := patched{seeds[int(seed)%len(seeds)], patch, int(step)%8 + 1}.bytes()
		readAll(t, image)
	})
}

// dirty is a small file system whose journal must be replayed.
func dirty(t testing.TB) []byte {
	image := mke2fs(t, "", 2, "-t", "ext4", "-b", "1024", "-N", "64", "-O", "^metadata_csum,^64bit")
	data := filepath.Join(t.TempDir(), "data")
	must(t, os.WriteFile(data, append([]byte("\xc0\x3b\x39\x98"), make([]byte, 4000)...), 0o600))
	debugfs(t, image, "jo", "jw -b 1700,1701,1702 "+data, "jc", "jo", "jw -r 1701", "jc")
	b, err := os.ReadFile(image)
	must(t, err)
	return b
}

// TestEveryByte breaks bytes of a file system, most of all in the parts that say
// where things are, which come first.
func TestEveryByte(t *testing.T) {
	for _, seed := range [][]byte{small(t, "-t", "ext4", "-O", "^metadata_csum,inline_data"), small(t, "-t", "ext2"), dirty(t)} {
		for n, at := 0, superAt; at < len(seed); n, at = n+1, at+1+at/300 {
			old := seed[at]
			seed[at] = []byte{0, 0xFF, old + 1, old ^ 0x80}[n%4]
			readAll(t, seed)
			seed[at] = old
		}
	}
}

// FuzzPartitions reads tables that somebody tampered with.
func FuzzPartitions(f *testing.F) {
	need(f, "sfdisk")
	var seeds [][]byte
	for _, script := range []string{"label: gpt\n,4096\n,\n", "label: dos\n,4096\n,,E\n,1000\n,1000\n"} {
		image := filepath.Join(f.TempDir(), "disk")
		must(f, os.WriteFile(image, nil, 0o600), os.Truncate(image, 4<<20))
		toolInput(f, script, "sfdisk", "-q", image)
		b, err := os.ReadFile(image)
		must(f, err)
		seeds = append(seeds, b)
		f.Add(uint8(len(seeds)), []byte{0, 1, 0xC6, 5})
	}
	f.Fuzz(func(t *testing.T, seed uint8, patch []byte) {
		b := patched{seeds[int(seed)%len(seeds)], patch, 1}.bytes()
		parts, err := Partitions(bytes.NewReader(b), int64(len(b)))
		if err != nil && !expected(err) {
			t.Errorf("got %v", err)
		}
		for _, p := range parts {
			if p.Offset < 0 || p.Size < 0 || p.Size > int64(len(b))-p.Offset {
				t.Errorf("partition %+v of %d bytes", p, len(b))
			}
		}
	})
}

// FuzzQcow2 reads files that somebody tampered with.
func FuzzQcow2(f *testing.F) {
	need(f, "qemu-img")
	var seeds [][]byte
	for _, options := range []string{"cluster_size=512", "cluster_size=4k,compression_type=zstd", "compat=0.10"} {
		dir := f.TempDir()
		raw, image := filepath.Join(dir, "raw"), filepath.Join(dir, "image")
		must(f, os.WriteFile(raw, append(pattern(100_000), make([]byte, 100_000)...), 0o600))
		tool(f, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, image)
		b, err := os.ReadFile(image)
		must(f, err)
		seeds = append(seeds, b)
		f.Add(uint8(len(seeds)), uint8(1), []byte{0, 0, 24, 1})
	}
	f.Fuzz(func(t *testing.T, seed, step uint8, patch []byte) {
		path := filepath.Join(t.TempDir(), "image")
		must(t, os.WriteFile(path, patched{seeds[int(seed)%len(seeds)], patch, int(step)%8 + 1}.bytes(), 0o600))
		d, err := Open([]Layer{{path, "qcow2"}, {path, "qcow2"}})
		if err != nil {
			return
		}
		defer d.Close()
		b := make([]byte, 200_000)
		for _, off := range []int64{0, 50_001, d.Size() - 1000} {
			if off >= 0 {
				d.ReadAt(b, off)
			}
		}
		if d.Size() < 1<<32 {
			d.Changed(1)
		}
	})
}
