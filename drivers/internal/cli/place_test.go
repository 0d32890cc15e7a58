package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

func place(t *testing.T) (*cli.Place, string) {
	t.Helper()
	home := t.TempDir()
	return cli.Config{Home: home}.Place("hyper"), filepath.Join(home, "drivers", "hyper")
}

// TestKeepMakesOnce proves that what is kept is made once, that a failed attempt
// leaves nothing, and that what is not used makes room for what is new.
func TestKeepMakesOnce(t *testing.T) {
	p, dir := place(t)
	made := 0
	write := func(path string) error {
		made++
		return os.WriteFile(path, []byte("disk"), 0o600)
	}
	wrong := errors.New("the disk is full")
	if _, err := p.Keep("a.vdi", func(path string) error {
		return errors.Join(os.MkdirAll(filepath.Join(path, "half"), 0o700), wrong)
	}); !errors.Is(err, wrong) {
		t.Errorf("got %v, want %v", err, wrong)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "kept")); err != nil || len(left) > 0 {
		t.Errorf("%v are left of it, %v", left, err)
	}
	first, err1 := p.Keep("a.vdi", write)
	second, err2 := p.Keep("a.vdi", write)
	if err := errors.Join(err1, err2); err != nil || first != second || made != 1 {
		t.Errorf("got %s and %s, made %d times, %v; want one that is made once", first, second, made, err)
	}
	if err := p.Add("m", cli.Note{Base: first}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := p.Keep(fmt.Sprintf("%d.vdi", i), write); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "kept", "*"))
	if err != nil || !slices.Contains(left, first) || len(left) > 10 {
		t.Errorf("got %q, %v; want few, with the one that a machine lies on", left, err)
	}
}

// TestTrim proves that what is kept goes when it was not used for long, unless a
// machine lies on it.
func TestTrim(t *testing.T) {
	p, _ := place(t)
	none := func(string) { t.Error("something goes") }
	if freed, err := p.Trim(none); freed != 0 || err != nil {
		t.Errorf("an empty place: got %d, %v", freed, err)
	}
	old := time.Now().Add(-8 * 24 * time.Hour)
	var paths []string
	for _, key := range []string{"old", "used", "new"} {
		path, err := p.Keep(key, func(path string) error { return os.WriteFile(path, make([]byte, 1<<16), 0o600) })
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	err := errors.Join(os.Chtimes(paths[0], old, old), os.Chtimes(paths[1], old, old), p.Add("m", cli.Note{Base: paths[1]}))
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	freed, err := p.Trim(func(path string) { gone = append(gone, path) })
	if err != nil || freed < 1<<16 || !slices.Equal(gone, paths[:1]) {
		t.Errorf("got %d bytes freed, %q gone, %v; want only the old one that nobody uses", freed, gone, err)
	}
	if _, err := os.Stat(paths[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if freed, err := p.Trim(none); freed != 0 || err != nil {
		t.Errorf("again: got %d, %v", freed, err)
	}
}

func TestDiskKey(t *testing.T) {
	small, err1 := cli.DiskKey(vm.Image{Digest: "sha256:ab", Size: 5 << 20}, 0, "vdi")
	grown, err2 := cli.DiskKey(vm.Image{Digest: "sha256:ab", Size: 5 << 20}, 64<<20, "vdi")
	if err := errors.Join(err1, err2); err != nil || small != "ab-5.vdi" || grown != "ab-64.vdi" {
		t.Errorf("got %q and %q, %v", small, grown, err)
	}
	for _, digest := range []string{"", "sha256:", "nothing", "sha256:../../etc"} {
		if key, err := cli.DiskKey(vm.Image{Digest: digest}, 0, "vdi"); err == nil {
			t.Errorf("%q: got %q, want an error", digest, key)
		}
	}
}

// destroyed returns what a place calls to destroy machines, and their names.
func destroyed() (func(context.Context, string, cli.Note) error, *[]string) {
	var names []string
	return func(_ context.Context, name string, _ cli.Note) error {
		names = append(names, name)
		return nil
	}, &names
}

// TestRemoveKeepsWhatForksNeed proves that machines go after the forks that lie on
// them, in whichever order they are closed.
func TestRemoveKeepsWhatForksNeed(t *testing.T) {
	p, _ := place(t)
	ctx := t.Context()
	if err := errors.Join(p.Add("a", cli.Note{}), p.Add("b", cli.Note{Parent: "a"}), p.Add("c", cli.Note{Parent: "b"}), p.Add("d", cli.Note{Parent: "a"})); err != nil {
		t.Fatal(err)
	}
	if err := p.Add("b", cli.Note{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name that is taken: got %v, want fs.ErrExist", err)
	}
	destroy, names := destroyed()
	for _, name := range []string{"a", "b"} {
		if err := p.Remove(ctx, name, destroy); err != nil {
			t.Error(err)
		}
		if err := p.Remove(ctx, name, destroy); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, closed before: got %v, want fs.ErrNotExist", name, err)
		}
	}
	if err := p.Add("e", cli.Note{Parent: "a"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a fork of a closed machine: got %v, want fs.ErrNotExist", err)
	}
	for _, name := range []string{"c", "d"} {
		if err := p.Remove(ctx, name, destroy); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"c", "b", "d", "a"}; !slices.Equal(*names, want) {
		t.Errorf("destroyed %q, want %q", *names, want)
	}
	if left, err := p.Names(); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// TestRemoveGoesOn proves that a machine that the hypervisor lost goes, and that
// one that it does not let go stays.
func TestRemoveGoesOn(t *testing.T) {
	p, _ := place(t)
	if err := errors.Join(p.Add("lost", cli.Note{}), p.Add("stuck", cli.Note{ID: "7"})); err != nil {
		t.Fatal(err)
	}
	gone := func(context.Context, string, cli.Note) error { return fs.ErrNotExist }
	if err := p.Remove(t.Context(), "lost", gone); err != nil {
		t.Errorf("lost: got %v, want nothing but its folder gone", err)
	}
	if err := p.Remove(t.Context(), "never", gone); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("never: got %v, want fs.ErrNotExist", err)
	}
	stuck := errors.New("it is locked")
	if err := p.Remove(t.Context(), "stuck", func(context.Context, string, cli.Note) error { return stuck }); !errors.Is(err, stuck) {
		t.Errorf("stuck: got %v, want %v", err, stuck)
	}
	if n, err := p.Note("stuck"); err != nil || n.ID != "7" {
		t.Errorf("stuck: got %+v, %v; want it still noted", n, err)
	}
}

// TestSocketsAreShort proves that a long folder's socket is elsewhere, where it
// goes with the machine, and that no note leads to the removal of another folder.
func TestSocketsAreShort(t *testing.T) {
	home := filepath.Join(t.TempDir(), strings.Repeat("x", 90))
	p := cli.Config{Home: home}.Place("hyper")
	if err := p.Add("m", cli.Note{}); err != nil {
		t.Fatal(err)
	}
	path, err := p.Socket("m")
	if err != nil || len(path) > 100 {
		t.Fatalf("got %q, %v; want a short path", path, err)
	}
	destroy, _ := destroyed()
	if err := p.Remove(t.Context(), "m", destroy); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket's folder is left: %v", err)
	}
	mine := t.TempDir()
	if err := errors.Join(p.Add("evil", cli.Note{Socket: mine}), p.Remove(t.Context(), "evil", destroy)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a folder that a note named is gone: %v", err)
	}
}

// TestConsoleKeepsItsPast proves that what was printed before a start is kept, and
// inherited.
func TestConsoleKeepsItsPast(t *testing.T) {
	c, fork := cli.Console{Dir: t.TempDir()}, cli.Console{Dir: t.TempDir()}
	for _, text := range []string{"first\n", "second\n"} {
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := fork.Begin(c); err != nil {
		t.Fatal(err)
	}
	for _, c := range []cli.Console{c, fork} {
		if text, err := c.Read(); err != nil || string(text) != "first\nsecond\n" {
			t.Errorf("got %q, %v; want both starts", text, err)
		}
	}
	if err := os.WriteFile(c.Path(), make([]byte, 3<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := c.Read(); err != nil || len(text) != 1<<20 {
		t.Errorf("got %d bytes, %v; want the last MiB", len(text), err)
	}
}
