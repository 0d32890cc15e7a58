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
	if err := os.WriteFile(ramFile, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
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
