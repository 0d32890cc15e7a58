//go:build linux

package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listed makes a folder of one finished template.
func listed(t *testing.T) (root, dir string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, "key")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ramFile := filepath.Join(dir, ramName)
	for _, name := range []string{ramName, stateName, layerName(0)} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := sealTemplate(dir, facts{Image: "debian-12", Disk: ramFile, CPUs: 2, Memory: 512 << 20, Made: time.Unix(1e9, 0)}); err != nil {
		t.Fatal(err)
	}
	return root, dir
}

func TestTemplatesAreListed(t *testing.T) {
	root, dir := listed(t)
	if err := os.Mkdir(filepath.Join(root, "other"+draftSuffix), 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := Templates(root)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v, want one template and no draft", list, err)
	}
	got := list[0]
	if got.Image != "debian-12" || got.CPUs != 2 || got.Memory != 512<<20 || got.Bytes < 1<<20 || got.Used.Before(got.Made) {
		t.Errorf("got %+v", got)
	}
	if got.Failed != 0 || got.Rebuilt != 0 {
		t.Errorf("a template without troubles: got %+v", got)
	}
	if list, err := Templates(filepath.Join(dir, "missing")); len(list) != 0 || err != nil {
		t.Errorf("no folder: got %v, %v, want nothing", list, err)
	}
}

// A template whose files are not what they were is of no use, whichever it is.
func TestDamageIsNoticed(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"cut":     func(file string) error { return os.Truncate(file, 1000) },
		"gone":    os.Remove,
		"written": func(file string) error { return os.Chtimes(file, time.Now(), time.Now().Add(time.Hour)) },
	} {
		for _, file := range []string{ramName, stateName, layerName(0)} {
			t.Run(name+" "+file, func(t *testing.T) {
				root, dir := listed(t)
				f, err := readFacts(dir)
				if err == nil {
					err = f.intact(dir)
				}
				if err != nil || len(f.Files) != 3 {
					t.Fatalf("got %v, %v, want a template of three files", f.Files, err)
				}
				if err := damage(filepath.Join(dir, file)); err != nil {
					t.Fatal(err)
				}
				if name == "written" && file == ramName {
					return // its time is no sign
				}
				if err := f.intact(dir); err == nil || !strings.Contains(err.Error(), file) {
					t.Errorf("got %v, want an error that names %s", err, file)
				}
				if freed, err := Trim(root, 1<<40); err != nil || freed == 0 {
					t.Errorf("Trim: got %d bytes freed, %v, want the template gone", freed, err)
				}
			})
		}
	}
}

// A lock goes with its template, unless somebody is about to make that.
func TestLocksAreTrimmed(t *testing.T) {
	root, dir := listed(t)
	for _, name := range []string{"stale", "taken"} {
		f, err := tryLock(filepath.Join(root, name+lockSuffix), lockExclusive)
		if err != nil {
			t.Fatal(err)
		}
		if name == "stale" {
			f.Close()
		} else {
			defer f.Close()
		}
	}
	if err := os.WriteFile(dir+lockSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Trim(root, 1<<40); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"stale": false, "taken": true, filepath.Base(dir): true} {
		if got := exists(filepath.Join(root, name+lockSuffix)); got != want {
			t.Errorf("%s: got its lock there: %v, want %v", name, got, want)
		}
	}
}

// What went wrong with a template is still known when it was made again, and
// forgotten with it.
func TestTroublesAreCounted(t *testing.T) {
	root, dir := listed(t)
	for range 2 {
		if err := (trouble{Time: time.Now(), Why: strings.Repeat("x", 5000)}).note(dir); err != nil {
			t.Fatal(err)
		}
	}
	if !dropTemplate(dir) {
		t.Fatal("the template was not dropped")
	}
	failed, rebuilt, err := readTroubles(dir)
	if failed != 2 || rebuilt != 1 || err != nil {
		t.Errorf("got %d failed, %d rebuilt, %v, want 2 and 1", failed, rebuilt, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil { // of no use, so Trim removes it
		t.Fatal(err)
	}
	if _, err := Trim(root, 0); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(root); len(left) != 0 || err != nil {
		t.Errorf("after Trim: got %v, %v, want nothing left", left, err)
	}
}
