package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// journals are the ways in which a journal can be written.
var journals = []struct {
	name    string
	format  []string
	options string
}{
	{"csum-v3", []string{"-t", "ext4", "-b", "1024"}, "noatime"},
	{"csum-v3-4k", []string{"-t", "ext4", "-b", "4096"}, "noatime"},
	{"64bit", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,64bit"}, "noatime"},
	{"32bit", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"}, "noatime"},
	{"csum-v1", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum"}, "noatime,journal_checksum"},
	{"async", []string{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum"}, "noatime,journal_async_commit,data=writeback"},
	{"async-v3", []string{"-t", "ext4", "-b", "1024"}, "noatime,journal_async_commit,data=writeback"},
	{"data", []string{"-t", "ext4", "-b", "1024"}, "noatime,data=journal"},
	{"data-4k-32bit", []string{"-t", "ext4", "-b", "4096", "-O", "^metadata_csum,^64bit"}, "noatime,data=journal"},
	{"ext3", []string{"-t", "ext3", "-b", "1024"}, "noatime"},
	{"bigalloc", []string{"-t", "ext4", "-b", "1024", "-O", "bigalloc,inline_data"}, "noatime"},
}

// TestReplay takes file systems out of the hands of a kernel that writes to them,
// and compares what is read with what a kernel reads after its own replay.
func TestReplay(t *testing.T) {
	for _, j := range journals {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			image := mke2fs(t, "", 48, append([]string{"-J", "size=" + journalSize(j.format)}, j.format...)...)
			dir := mount(t, image, j.options)
			for round := range 2 {
				busy(t, dir, round)
				dirty := copyFile(t, image, filepath.Join(memory(t), "dirty"))
				checkReplay(t, dirty)
			}
		})
	}
}

// journalSize is the smallest possible, in MiB, so that the log goes round.
func journalSize(format []string) string {
	if slices.Contains(format, "4096") {
		return "4"
	}
	return "1"
}

// busy changes a file system so that its log goes round, frees blocks of folders
// that then hold data, and has blocks that begin like a journal's.
func busy(t *testing.T, dir string, round int) {
	at := func(format string, args ...any) string { return filepath.Join(dir, fmt.Sprintf(format, args...)) }
	for k := range 12 {
		folder := at("folder-%d-%d", round, k)
		must(t, os.Mkdir(folder, 0o755))
		for n := range 60 {
			must(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("a-long-name-that-fills-blocks-%d", n)), pattern(100*n), 0o640))
		}
		synced(t, at("sync-%d-%d", round, k), []byte("x"))
		if k%3 == 1 {
			must(t, os.RemoveAll(folder))
			escape := bytes.Repeat(append([]byte("\xc0\x3b\x39\x98"), pattern(1020)...), 60)
			synced(t, at("escape-%d-%d", round, k), escape)
		}
	}
	must(t, os.WriteFile(at("not-synced-%d", round), []byte("never"), 0o600))
}

// synced writes a file and waits until the journal has it.
func synced(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	_, err = f.Write(b)
	must(t, err, f.Sync(), f.Close())
}

// checkReplay compares with a copy that the kernel replayed.
func checkReplay(t *testing.T, dirty string) {
	t.Helper()
	clean := copyFile(t, dirty, dirty+".clean")
	dir := mount(t, clean, "noatime")
	umount(t, dir)
	dir = mount(t, clean, "ro")
	want := kernels(t, dir)
	umount(t, dir)
	fs := open(t, dirty)
	if len(fs.moved) == 0 {
		t.Fatalf("the journal holds %d blocks: it proves nothing", len(fs.moved))
	}
	same(t, ours(t, fs), want)
	must(t, os.Remove(clean), os.Remove(dirty))
}

// TestReplayIsNeeded proves that what TestReplay compares is in the journal only.
func TestReplayIsNeeded(t *testing.T) {
	image := mke2fs(t, "", 48, "-t", "ext4", "-b", "1024", "-J", "size=1")
	dir := mount(t, image, "noatime")
	synced(t, filepath.Join(dir, "file"), []byte("x"))
	dirty := copyFile(t, image, filepath.Join(memory(t), "dirty"))
	if _, found := ours(t, open(t, dirty))["/file"]; !found {
		t.Error("the file is not found")
	}
	d, err := Open([]Layer{{dirty, "raw"}})
	must(t, err)
	defer d.Close()
	fs, err := openExt4(&blocks{r: d}, d.Size())
	must(t, err)
	if _, found := ours(t, fs)["/file"]; found {
		t.Error("the file is found without the journal")
	}
}

// TestDebugfsJournals has debugfs write journals, in ways that today's kernels do
// not, and e2fsck replay them.
func TestDebugfsJournals(t *testing.T) {
	for _, j := range []struct {
		name, open string
		options    []string
	}{
		{"v1", "jo", []string{"-O", "^metadata_csum,^64bit"}},
		{"v2", "jo -c -v 2", []string{"-O", "^metadata_csum,^64bit"}},
		{"v2-64bit", "jo -c -v 2", []string{"-O", "metadata_csum,64bit"}},
		{"v3", "jo -c -v 3", []string{"-O", "metadata_csum,64bit"}},
		{"v3-32bit", "jo -c -v 3", []string{"-O", "metadata_csum,^64bit"}},
	} {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			from := t.TempDir()
			must(t, os.WriteFile(filepath.Join(from, "file"), pattern(40<<10), 0o644))
			image := mke2fs(t, from, 16, append([]string{"-t", "ext4", "-b", "1024"}, j.options...)...)
			blocks := strings.Fields(debugfs(t, image, "blocks /file"))
			first := blocks[slices.Index(blocks, "/file")+1:]
			list := strings.Join(first[:20], ",")
			data := filepath.Join(t.TempDir(), "data")
			must(t, os.WriteFile(data, append([]byte("\xc0\x3b\x39\x98"), bytes.Repeat([]byte("new!"), 8000)...), 0o600))
			debugfs(t, image, j.open, "jw -b "+list+" "+data, "jc")
			debugfs(t, image, j.open, "jw -r "+first[5]+","+first[7], "jc")
			debugfs(t, image, j.open, "jw -b "+first[7]+" "+data, "jc")
			debugfs(t, image, j.open, "jw -b "+first[9]+" -r "+first[9]+" "+data, "jc")
			checkFsck(t, image)
		})
	}
}

// checkFsck compares with a copy that e2fsck replayed.
func checkFsck(t *testing.T, dirty string) {
	t.Helper()
	clean := copyFile(t, dirty, filepath.Join(t.TempDir(), "clean"))
	tool(t, "sh", "-c", "e2fsck -fy "+clean+" || [ $? -le 2 ]")
	fs := open(t, dirty)
	if len(fs.moved) == 0 {
		t.Fatal("nothing is in the journal")
	}
	same(t, ours(t, fs), ours(t, open(t, clean)))
}

// TestFastCommit proves that a log which goes on in another form is refused.
func TestFastCommit(t *testing.T) {
	image := mke2fs(t, "", 48, "-t", "ext4", "-O", "fast_commit", "-J", "size=4")
	dir := mount(t, image, "noatime")
	refused := 0
	for k := range 20 {
		synced(t, filepath.Join(dir, fmt.Sprintf("file-%d", k)), pattern(1000*k))
		dirty := copyFile(t, image, filepath.Join(memory(t), "dirty"))
		d, err := Open([]Layer{{dirty, "raw"}})
		must(t, err)
		var no *UnsupportedError
		if _, err := OpenExt4(d, d.Size()); errors.As(err, &no) {
			refused++
		} else {
			must(t, err)
			checkReplay(t, dirty)
		}
		must(t, d.Close())
	}
	if refused == 0 {
		t.Error("the kernel made no fast commit, or none was seen")
	}
	t.Logf("%d of 20 had a fast commit", refused)
}

// TestOrphans deletes files that are open.
func TestOrphans(t *testing.T) {
	for _, options := range []string{"^orphan_file", "orphan_file"} {
		t.Run(options, func(t *testing.T) {
			image := mke2fs(t, "", 48, "-t", "ext4", "-O", options)
			dir := mount(t, image, "noatime")
			var want []uint32
			for k := range 3 {
				path := filepath.Join(dir, fmt.Sprintf("open-%d", k))
				f, err := os.Create(path)
				must(t, err)
				defer f.Close()
				i, err := lstat(path)
				must(t, err, os.Remove(path))
				want = append(want, i.Number)
			}
			synced(t, filepath.Join(dir, "sync"), []byte("x"))
			fs := open(t, copyFile(t, image, filepath.Join(memory(t), "dirty")))
			list, err := fs.Orphans()
			must(t, err)
			var got []uint32
			for _, i := range list {
				got = append(got, i.Number)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}
