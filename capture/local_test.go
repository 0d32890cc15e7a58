//go:build linux

package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The live source and a folder's see the same tree alike.
func TestLocalSeesWhatDirSees(t *testing.T) {
	root := writeTree(t, sampleTree)
	got, err := Collect(t.Context(), Local(), Options{Only: []string{"files"}, Roots: []string{root}})
	check(t, err)
	want := collectFiles(t, Dir(root))
	live := map[string]string{}
	for _, r := range got.Records {
		live[strings.TrimPrefix(r.Key, root)] = r.Attrs["type"] + r.Attrs["mode"] + r.Attrs["sha256"] + r.Attrs["target"]
	}
	for _, r := range want.Records {
		key := r.Key
		if key == "/" {
			key = ""
		}
		if live[key] != r.Attrs["type"]+r.Attrs["mode"]+r.Attrs["sha256"]+r.Attrs["target"] {
			t.Errorf("%s: the live source says %q, the folder's %v", r.Key, live[key], r.Attrs)
		}
	}
}

// Looking leaves no trace: not even the time of access moves.
func TestLocalLeavesNoAccessTime(t *testing.T) {
	root := writeTree(t, sampleTree)
	p := filepath.Join(root, "etc/motd")
	long := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	check(t, os.Chtimes(p, long, time.Now()))
	_, err := Collect(t.Context(), Local(), Options{Only: []string{"files"}, Roots: []string{root}})
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(p, &st))
	if got := time.Unix(st.Atim.Unix()); !got.Equal(long) {
		t.Fatalf("access time is %v, was %v", got, long)
	}
}

// A FIFO without a writer, a device and a link in the way keep nobody waiting.
func TestLocalOpensRegularFilesOnly(t *testing.T) {
	root := t.TempDir()
	check(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644))
	check(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	check(t, os.WriteFile(filepath.Join(root, "dir/real"), []byte("x"), 0o644))
	check(t, os.Symlink("dir", filepath.Join(root, "link")))
	src := source{Local()}
	for _, name := range []string{"fifo", "dir", "link", "link/real", "gone"} {
		if f, err := src.open(filepath.Join(root, name)); err == nil {
			f.Close()
			t.Errorf("opened %s", name)
		}
	}
	if _, err := src.ReadFile("/dev/zero", 10); err == nil {
		t.Error("read a device")
	}
	if data, err := src.ReadFile(filepath.Join(root, "link/real"), 10); err != nil || string(data) != "x" {
		t.Errorf("got %q, %v", data, err)
	}
	if _, err := src.ReadFile(filepath.Join(root, "dir/real"), 0); err == nil || !strings.Contains(err.Error(), "longer than 0 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestLocalRun(t *testing.T) {
	src := Local()
	if out, err := src.Run(t.Context(), "echo", "a b"); err != nil || string(out) != "a b\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if _, err := src.Run(t.Context(), "no-such-program-here"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want %v", err, errors.ErrUnsupported)
	}
	if _, err := src.Run(t.Context(), "sh", "-c", "echo why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "exit status 3: why") {
		t.Errorf("got %v", err)
	}
	out, err := src.Run(t.Context(), "sh", "-c", "head -c 20000000 /dev/zero")
	if err == nil || len(out) != maxOutput {
		t.Errorf("got %d bytes, %v, want the first %d and an error", len(out), err, maxOutput)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := src.Run(ctx, "sh", "-c", "sleep 1000 & sleep 1000"); err == nil || time.Since(start) > 20*time.Second {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
}

// skip skips, or fails if ASSAY_MUST_RUN names what.
func skip(t *testing.T, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), what) {
		t.Fatal(why)
	}
	t.Skip(why)
}

// The agent and the programs of its collectors are no part of what is observed.
func TestLocalLeavesItselfOut(t *testing.T) {
	c, err := Collect(t.Context(), Local(), Options{Only: []string{"processes"}})
	check(t, err)
	if len(c.Records) == 0 {
		skip(t, "processes", "no process can be seen here")
	}
	if slices.ContainsFunc(c.Records, func(r Record) bool { return r.Attrs["pid"] == decimal(os.Getpid()) }) {
		t.Error("the capture holds its own process")
	}
}

// What the root of a live guest holds decodes as it was: extended attributes
// where the file system has them.
func TestLocalXattrs(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	check(t, os.WriteFile(p, nil, 0o644))
	if err := unix.Setxattr(p, "user.note", []byte("hello"), 0); err != nil {
		skip(t, "xattrs", "no extended attributes here: "+err.Error())
	}
	c, err := Collect(t.Context(), Local(), Options{Only: []string{"files"}, Roots: []string{p}})
	check(t, err)
	if len(c.Records) != 1 || c.Records[0].Attrs["attr.user.note"] != "hello" {
		t.Fatalf("got %v", c.Records)
	}
}

func TestWalkIsCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Collect(ctx, Local(), Options{})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
		t.Fatalf("got %v after %v", err, time.Since(start))
	}
}

// BenchmarkWalk is the walk alone: everything is known.
func BenchmarkWalk(b *testing.B) {
	root := filepath.Join(runtime.GOROOT(), "src")
	opt := Options{Only: []string{"files"}, Roots: []string{root}}
	c, err := Collect(b.Context(), Local(), opt)
	check(b, err)
	known := NewManifest(c)
	for b.Loop() {
		if _, err := Collect(b.Context(), Local(), Options{Only: opt.Only, Roots: opt.Roots, Known: known}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(c.Records)), "files")
}

// BenchmarkHash is the walk and the hashing of all.
func BenchmarkHash(b *testing.B) {
	opt := Options{Only: []string{"files"}, Roots: []string{filepath.Join(runtime.GOROOT(), "src")}}
	for b.Loop() {
		if _, err := Collect(b.Context(), Local(), opt); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkCapture(b *testing.B) Capture {
	c, err := Collect(b.Context(), Local(), Options{Only: []string{"files"}, Roots: []string{filepath.Join(runtime.GOROOT(), "src")}})
	check(b, err)
	return c
}

// BenchmarkStream is what the agent pays for sending, against BenchmarkEncode.
func BenchmarkStream(b *testing.B) {
	c := benchmarkCapture(b)
	var buf bytes.Buffer
	for b.Loop() {
		buf.Reset()
		enc := newEncoder(&buf)
		for _, r := range c.Records {
			enc.record(r)
		}
		check(b, enc.end())
	}
	b.ReportMetric(float64(buf.Len())/float64(len(c.Records)), "B/record")
}

func BenchmarkEncode(b *testing.B) {
	c := benchmarkCapture(b)
	for b.Loop() {
		check(b, c.Encode(io.Discard))
	}
}

func BenchmarkDigest(b *testing.B) {
	c := benchmarkCapture(b)
	for b.Loop() {
		c.Digest()
	}
}
