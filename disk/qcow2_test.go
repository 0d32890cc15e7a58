package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// chainOf makes a chain in which every layer was written to in other places:
// raw, then qcow2 files of that size and those options.
func chainOf(t testing.TB, options []string, sizes ...int64) []Layer {
	t.Helper()
	need(t, "qemu-img", "qemu-io")
	dir := memory(t)
	base := filepath.Join(dir, "base")
	must(t, os.WriteFile(base, pattern(int(sizes[0])), 0o600))
	chain := []Layer{{base, "raw"}}
	for k, size := range sizes[1:] {
		below, top := chain[k], filepath.Join(dir, fmt.Sprintf("layer-%d", k))
		argv := append([]string{"qemu-img", "create", "-q", "-f", "qcow2", "-b", below.Path, "-F", below.Format}, options...)
		tool(t, append(argv, top, fmt.Sprint(size))...)
		at := func(n int64) string { return fmt.Sprint((size/13*n + int64(k)*77_777) &^ 511) }
		tool(t, "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -q -P %d %s 200k", k+1, at(1)), "-c", "write -q -z "+at(3)+" 300k",
			"-c", fmt.Sprintf("write -q -P %d %s 512", k+65, at(5)), "-c", "write -q -z -u "+at(1)+" 64k", "-c", "discard -q "+at(5)+" 64k", top)
		chain = append(chain, Layer{top, "qcow2"})
	}
	return chain
}

// flat is the disk as QEMU reads it.
func flat(t testing.TB, l Layer) []byte {
	t.Helper()
	out := filepath.Join(memory(t), "flat")
	tool(t, "qemu-img", "convert", "-f", l.Format, "-O", "raw", l.Path, out)
	b, err := os.ReadFile(out)
	must(t, err)
	return b
}

func whole(t testing.TB, d *Disk) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	_, err := d.ReadAt(b, 0)
	must(t, err)
	return b
}

func openChain(t testing.TB, chain []Layer) *Disk {
	t.Helper()
	d, err := Open(chain)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// TestQcow2 compares what is read, and what is said to have changed, with QEMU's view.
func TestQcow2(t *testing.T) {
	for name, c := range map[string]struct {
		options []string
		sizes   []int64
	}{
		"usual":    {nil, []int64{8 << 20, 8 << 20, 8 << 20}},
		"version2": {[]string{"-o", "compat=0.10"}, []int64{8 << 20, 8 << 20}},
		"small":    {[]string{"-o", "cluster_size=512"}, []int64{3 << 20, 3 << 20, 3 << 20}},
		"large":    {[]string{"-o", "cluster_size=2M"}, []int64{9 << 20, 9 << 20}},
		"grows":    {nil, []int64{5<<20 + 512, 8 << 20, 9<<20 + 1024}},
		"shrinks":  {nil, []int64{8 << 20, 5<<20 + 512, 9 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			chain := chainOf(t, c.options, c.sizes...)
			for top := range chain {
				d := openChain(t, chain[:top+1])
				want := flat(t, chain[top])
				if got := whole(t, d); !bytes.Equal(got, want) {
					t.Fatalf("layer %d: byte %d of %d (want %d) differs", top, firstDifference(got, want), len(got), len(want))
				}
				checkPieces(t, d, want)
				for from := 0; from <= top; from++ {
					checkChanged(t, chain, d, from, want)
				}
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for k := range min(len(a), len(b)) {
		if a[k] != b[k] {
			return k
		}
	}
	return min(len(a), len(b))
}

// checkPieces reads odd pieces, and past the end.
func checkPieces(t *testing.T, d *Disk, want []byte) {
	t.Helper()
	b := make([]byte, 100_003)
	for off := int64(0); off <= int64(len(want))+5; off += 77_777 {
		n, err := d.ReadAt(b, off)
		left := want[min(off, int64(len(want))):]
		if wantN := min(len(left), len(b)); n != wantN || (err == io.EOF) != (wantN < len(b)) || !bytes.Equal(b[:n], left[:n]) {
			t.Fatalf("at %d: got %d bytes and %v, want %d", off, n, err, wantN)
		}
	}
}

// checkChanged proves that outside of what changed nothing did, and that it is
// not just everything.
func checkChanged(t *testing.T, chain []Layer, d *Disk, from int, now []byte) {
	t.Helper()
	changed, err := d.Changed(from)
	must(t, err)
	before := make([]byte, len(now))
	if from > 0 {
		copy(before, flat(t, chain[from-1]))
	}
	rest := bytes.Clone(now)
	for _, x := range changed {
		copy(rest[x.Off:x.Off+x.Len], before[x.Off:])
	}
	if from > 0 && !bytes.Equal(rest, before) {
		t.Errorf("changed since %d: byte %d differs, but is not in %v", from, firstDifference(rest, before), changed)
	}
	if all := changed.Bytes() == d.Size(); all != (from == 0) {
		t.Errorf("changed since %d: %v of %d bytes", from, changed, d.Size())
	}
	if from == 0 {
		return
	}
	below := openChain(t, chain[:from])
	narrow, err := Differing(below, d, changed, 512)
	must(t, err)
	for _, x := range narrow {
		copy(before[x.Off:x.Off+x.Len], now[x.Off:])
	}
	if !bytes.Equal(before, now) || narrow.Bytes() > changed.Bytes() {
		t.Errorf("differing since %d: byte %d differs, but is not in %v", from, firstDifference(before, now), narrow)
	}
}

// TestCompressed reads what qemu-img compressed.
func TestCompressed(t *testing.T) {
	need(t, "qemu-img")
	for _, options := range []string{"compression_type=zlib", "compression_type=zstd", "compression_type=zlib,cluster_size=4k", "compat=0.10"} {
		t.Run(options, func(t *testing.T) {
			dir := memory(t)
			want := append(pattern(3<<20), make([]byte, 1<<20)...)
			copy(want[100_000:], flatRandom(300_000))
			must(t, os.WriteFile(filepath.Join(dir, "raw"), want, 0o600))
			packed := filepath.Join(dir, "packed")
			tool(t, "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, filepath.Join(dir, "raw"), packed)
			d := openChain(t, []Layer{{packed, "qcow2"}})
			if got := whole(t, d); !bytes.Equal(got, want) {
				t.Fatalf("byte %d differs", firstDifference(got, want))
			}
			checkPieces(t, d, want)
		})
	}
}

// flatRandom returns bytes that do not compress.
func flatRandom(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for k := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[k] = byte(x >> 32)
	}
	return b
}

// TestRefused proves that what is not read is refused by its name.
func TestRefused(t *testing.T) {
	need(t, "qemu-img")
	dir := t.TempDir()
	make := func(name string, options ...string) Layer {
		argv := append([]string{"qemu-img", "create", "-q", "-f", "qcow2"}, options...)
		tool(t, append(argv, filepath.Join(dir, name), "4M")...)
		return Layer{filepath.Join(dir, name), "qcow2"}
	}
	for _, l := range []Layer{
		make("extended", "-o", "extended_l2=on,cluster_size=128k"),
		make("external", "-o", "data_file="+filepath.Join(dir, "data")),
		encrypted(t, make("encrypted")),
	} {
		_, err := Open([]Layer{l})
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: got %v, want unsupported", l.Path, err)
		}
	}
	for _, l := range []Layer{{"/nonexistent", "raw"}, {"/dev/null", "vmdk"}, {"/dev/null", "qcow2"}} {
		if _, err := Open([]Layer{l}); err == nil {
			t.Errorf("%v: got no error", l)
		}
	}
	if _, err := Open(nil); err == nil {
		t.Error("no layers: got no error")
	}
}

// encrypted says of a file that it is encrypted.
func encrypted(t *testing.T, l Layer) Layer {
	b, err := os.ReadFile(l.Path)
	must(t, err)
	be.PutUint32(b[32:], 1)
	must(t, os.WriteFile(l.Path, b, 0o600))
	return l
}
