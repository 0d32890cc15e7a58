package disk

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// benchmarked is the disk that ASSAY_BENCH_DISK names (qcow2), or else a small one
// that is made here.
func benchmarked(b *testing.B) *Disk {
	b.Helper()
	if path := os.Getenv("ASSAY_BENCH_DISK"); path != "" {
		return openChain(b, []Layer{{path, "qcow2"}})
	}
	need(b, "qemu-img")
	from := b.TempDir()
	populate(b, from, false)
	image := mke2fs(b, from, 64, "-t", "ext4")
	packed := filepath.Join(b.TempDir(), "image")
	tool(b, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, packed)
	return openChain(b, []Layer{{packed, "qcow2"}})
}

func opened(b *testing.B, d *Disk) *Ext4 {
	b.Helper()
	fs, err := OpenExt4(d, d.Size())
	must(b, err)
	return fs
}

// BenchmarkWalk opens the file system and reads all folders and inodes.
func BenchmarkWalk(b *testing.B) {
	d := benchmarked(b)
	for b.Loop() {
		paths := 0
		must(b, opened(b, d).Walk(func(string, *Inode, error) error { paths++; return nil }))
		b.ReportMetric(float64(paths), "paths")
	}
}

// BenchmarkHash reads and hashes all regular files.
func BenchmarkHash(b *testing.B) {
	d := benchmarked(b)
	fs := opened(b, d)
	for b.Loop() {
		total := int64(0)
		for i, err := range fs.Inodes() {
			must(b, err)
			if i.Mode&modeType != modeReg || i.Number < 11 {
				continue
			}
			f, err := fs.OpenInode(i)
			must(b, err)
			n, err := io.Copy(sha256.New(), f)
			must(b, err)
			total += n
		}
		b.SetBytes(total)
	}
}

// BenchmarkTouched opens the file system, and asks which inodes a megabyte touches.
func BenchmarkTouched(b *testing.B) {
	d := benchmarked(b)
	for b.Loop() {
		_, err := opened(b, d).Touched(Extents{{10 << 20, 1 << 20}})
		must(b, err)
	}
}
