//go:build linux

package qemu

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// ramFile makes a file of pages, each filled with its letter; '.' is a hole.
func ramFile(t *testing.T, name, pages string) *os.File {
	t.Helper()
	f, err := createRAM(filepath.Join(t.TempDir(), name), int64(len(pages))*pageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for i, letter := range pages {
		if letter != '.' {
			page := bytes.Repeat([]byte{byte(letter)}, pageSize)
			if _, err := f.WriteAt(page, int64(i)*pageSize); err != nil {
				t.Fatal(err)
			}
		}
	}
	return f
}

// letters is what ramFile made.
func letters(t *testing.T, f *os.File) string {
	t.Helper()
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	var s []byte
	for page := range slices.Chunk(data, pageSize) {
		if bytes.Count(page, page[:1]) != pageSize {
			t.Fatalf("a page of %s is torn", f.Name())
		}
		s = append(s, max(page[0], '.'))
	}
	return string(s)
}

// A snapshot of memory that is a private mapping of a file is the file with what
// was written to the mapping, though that was zeros.
func TestSavedMemoryIsFileAndOwnPages(t *testing.T) {
	const before = "aa..bb..cccc"
	const writes = " X Y  Z.. .." // '.' writes zeros
	const after = "aX.YbbZ..c.."
	base := ramFile(t, "base", before)
	size := int64(len(before)) * pageSize
	memory, err := unix.Mmap(int(base.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	for i, letter := range writes {
		page := memory[i*pageSize : (i+1)*pageSize]
		switch letter {
		case ' ':
			_ = page[0] // reading makes no page one's own
		case '.':
			clear(page)
		default:
			copy(page, bytes.Repeat([]byte{byte(letter)}, pageSize))
		}
	}
	p := &process{}
	p.cmd = command(os.Args[0], nil, "", nil)
	p.cmd.Process = &os.Process{Pid: os.Getpid()}
	g, err := p.openMemory(t.Context(), ram{path: base.Name()}, size)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	saved := ramFile(t, "saved", "............")
	if err := g.saveOwn(saved); err != nil {
		t.Fatal(err)
	}
	if got, want := letters(t, saved), ".X.Y..Z....."; got != want {
		t.Errorf("own pages: got %s, want %s", got, want)
	}
	if err := g.saveRest(saved); err != nil {
		t.Fatal(err)
	}
	if got := letters(t, saved); got != after {
		t.Errorf("all pages: got %s, want %s", got, after)
	}
	if got := letters(t, base); got != before {
		t.Errorf("the file itself was changed: got %s, want %s", got, before)
	}
}

func TestMappingOfAnotherSizeIsRefused(t *testing.T) {
	base := ramFile(t, "base", "ab")
	p := &process{cmd: command(os.Args[0], nil, "", nil)}
	p.cmd.Process = &os.Process{Pid: os.Getpid()}
	if g, err := p.openMemory(t.Context(), ram{path: base.Name()}, 2*pageSize); err == nil {
		g.close()
		t.Error("got memory, want an error: the process has not mapped the file")
	}
}

// Whatever the spans are, s without them and they together are all of s, once.
func TestSpanWithout(t *testing.T) {
	for range 1000 {
		const size = 40
		var spans []span
		covered := make([]int, size)
		for at := rand.Int64N(4); at < size-3; at += 1 + rand.Int64N(6) {
			s := span{at, at + 1 + rand.Int64N(3)}
			spans, at = append(spans, s), s.to
		}
		given := slices.Clone(spans)
		cut := rand.Int64N(size)
		for _, s := range []span{{0, cut}, {cut, size}} {
			for _, part := range s.without(&spans) {
				for i := part.from; i < part.to; i++ {
					covered[i]++
				}
			}
		}
		for _, s := range given {
			for i := s.from; i < s.to; i++ {
				covered[i]++
			}
		}
		if slices.Min(covered) != 1 || slices.Max(covered) != 1 {
			t.Fatalf("%v cut at %d: got %v, want every place once", given, cut, covered)
		}
	}
}

// Forks on another file system get a copy that is as sparse as the original.
func TestMemoryIsSharedOrCopied(t *testing.T) {
	src := ramFile(t, "ram", "a...b...")
	near := filepath.Join(filepath.Dir(src.Name()), "near")
	if err := shareRAM(src.Name(), near); err != nil || !sameFile(src, near) {
		t.Errorf("on one file system: got %v, want the same file", err)
	}
	dst := ramFile(t, "copy", "........")
	if err := copyRest(dst, src, nil, 8*pageSize); err != nil {
		t.Fatal(err)
	}
	if got := letters(t, dst); got != "a...b..." {
		t.Errorf("got %s, want a...b...", got)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dst.Fd()), &st); err != nil || st.Blocks*512 > 4*pageSize {
		t.Errorf("the copy takes %d bytes, %v, want its two pages", st.Blocks*512, err)
	}
}
