//go:build linux

package capture

import (
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/vm"
)

// diskOnly is a machine of which there is nothing but its disk.
type diskOnly struct{ layers []vm.Layer }

func (diskOnly) ID() string                                 { return "m" }
func (diskOnly) Dial(context.Context) (net.Conn, error)     { return nil, net.ErrClosed }
func (diskOnly) Close() error                               { return nil }
func (m diskOnly) Mark(context.Context) ([]vm.Layer, error) { return m.layers, nil }

// diskOf makes an ext4 file system of a fixture.
func diskOf(t *testing.T, root string) string {
	t.Helper()
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		mke2fs = "/sbin/mke2fs"
	}
	if _, err := os.Stat(mke2fs); err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "tools") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	image := filepath.Join(t.TempDir(), "disk.raw")
	if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-d", root, image, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	return image
}

// A disk without an agent gives the records that its files give where they lie.
func TestHostReadsADisk(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n", "etc/group": "root:x:0:\n",
		"etc/crontab": "* * * * * root true\n", "usr/bin/tool": "#!/bin/sh\n", "home/eve/note": "hello\n", "etc/odd\nname": "x",
	} {
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		check(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644))
	}
	check(t, os.Symlink("/usr/bin/tool", filepath.Join(root, "etc/link")))
	check(t, os.Symlink("loop", filepath.Join(root, "etc/loop")))
	h := NewHost()
	m := diskOnly{[]vm.Layer{{ID: "a", Path: diskOf(t, root), Format: "raw"}}}
	got, err := h.Take(t.Context(), m, nil, Options{})
	check(t, err)
	want, err := Collect(t.Context(), Dir(root), Options{})
	check(t, err)
	if !got.Partial || got.Witness != WitnessHost || len(got.Problems) == 0 {
		t.Errorf("partial %v, witness %q, problems %q", got.Partial, got.Witness, got.Problems)
	}
	found := map[string]Record{}
	for _, r := range got.Records {
		found[r.Kind+" "+r.Key] = r
	}
	for _, r := range want.Records {
		if liveKinds[r.Kind] && r.Kind != File && r.Kind != Unit && r.Kind != Package {
			continue
		}
		is, ok := found[r.Kind+" "+r.Key]
		for _, name := range []string{"type", "mode", "size", "sha256", "target", "text", "command", "uid", "home"} {
			if !ok || is.Attrs[name] != r.Attrs[name] {
				t.Errorf("%s %s: %s: got %q (found: %v), want %q", r.Kind, r.Key, name, is.Attrs[name], ok, r.Attrs[name])
				break
			}
		}
	}
	again, err := h.Take(t.Context(), m, nil, Options{})
	check(t, err)
	if again.Digest() != got.Digest() {
		t.Error("the same disk gives another capture")
	}
	for i, r := range again.Records {
		if r.Kind == File && !maps.Equal(r.Attrs, got.Records[i].Attrs) {
			t.Errorf("%s differs", r.Key)
		}
	}
}

// A disk that is none is an error of its own, with and without an agent.
func TestHostOfADiskThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.raw")
	check(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	_, err := OfDisk(t.Context(), []vm.Layer{{ID: "a", Path: path, Format: "raw"}}, Options{})
	if _, ok := err.(*UnreadError); !ok {
		t.Errorf("got %v, want an *UnreadError", err)
	}
}

func TestMountPoints(t *testing.T) {
	m := mountPoints{"/run": true, "/srv/x": true}
	for p, want := range map[string]string{"/": "", "/run": "/run", "/run/a/b": "/run", "/runner": "", "/srv": "", "/srv/x/y": "/srv/x"} {
		if got, at := m.over(p); got != want || at != m[p] {
			t.Errorf("%s: got %q, %v, want %q", p, got, at, want)
		}
	}
}

// What the guest says is believed where it may be right, and no further.
func TestDiffer(t *testing.T) {
	e := entry{path: "/x", stat: Stat{Mode: typeFile | 0o644, Ino: 7, Size: 5, Ctime: 100}}
	truth := inodeAttrs(e)
	with := func(name, value string) map[string]string {
		m := maps.Clone(truth)
		m[name] = value
		return m
	}
	for want, said := range map[string]map[string]string{
		"":                                   truth,
		"the guest says: no such file":       {"missing": "yes"},
		"the guest says: size 6":             with("size", "6"),
		"the guest says: mode 4755":          with("mode", "4755"),
		"the guest says: Input/output error": {"error": "Input/output error"},
		"the guest says nothing":             nil,
	} {
		if got := differ(e, said); got != want {
			t.Errorf("%v: got %q, want %q", said, got, want)
		}
	}
	later := with("size", "6")
	later["ctime"] = "101"
	if !changedSince(e, later) || changedSince(e, with("size", "6")) || changedSince(e, map[string]string{"missing": "yes", "ctime": "101"}) {
		t.Error("only a file that is there, and changed since, may be another")
	}
}
