package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/vm"
)

func openTest(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put puts an image with made-up content into the store, as a build would.
func put(t *testing.T, s *Store, name, how, os_, version, content string) Record {
	t.Helper()
	work, err := s.temp()
	if err != nil {
		t.Fatal(err)
	}
	defer work.remove()
	dir := filepath.Join(work.path, "version")
	disk := filepath.Join(dir, "disk.qcow2")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(disk, []byte(content), 0o444)); err != nil {
		t.Fatal(err)
	}
	rec, err := diskRecord(disk, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	rec.How = how
	rec.Image.Name, rec.Image.OS, rec.Image.Version, rec.Image.Arch = name, os_, version, "amd64"
	if rec, err = s.commit(dir, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestResolveReturnsWhatWasCommitted(t *testing.T) {
	s := openTest(t)
	put(t, s, "debian-12", "build", "debian", "12", "disk")
	img, err := s.Resolve("debian-12")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(img.Disk); err != nil || string(got) != "disk" {
		t.Errorf("disk: got %q, %v, want the committed bytes", got, err)
	}
	if img.OS != "debian" || img.Version != "12" || !strings.HasPrefix(img.Digest, "sha256:") || !filepath.IsAbs(img.Disk) {
		t.Errorf("got %+v, want debian 12 with a digest and an absolute path", img)
	}
	if left, _ := os.ReadDir(filepath.Join(s.Dir(), "tmp")); len(left) != 0 {
		t.Errorf("temporary folder: got %v, want nothing left", left)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := openTest(t)
	for name, want := range map[string]string{
		"debian-12":    `debian-12: no image; run "assay image build debian-12"`,
		"debian-21":    "debian-21: unknown image; nearest: debian-11",
		"debain-12":    "nearest: debian-12",
		"ubuntu-22.04": `run "assay image import jammy-server-cloudimg-amd64.img"`,
		"zzzzzz":       `zzzzzz: unknown image; see "assay image list"`,
		"../etc":       `image name: got "../etc"`,
		"versions":     `image name: got "versions"`,
	} {
		_, err := s.Resolve(name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Resolve(%q): got %v, want %s", name, err, want)
		}
	}
	var missing *NotFoundError
	if _, err := s.Resolve("debian-12"); !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %T, want *NotFoundError that is fs.ErrNotExist", err)
	}
}

// A new version of an image must not take the old disk from under a machine
// that runs on it; Trim removes it later, and never the current one.
func TestOldVersionsStayUntilTrim(t *testing.T) {
	s := openTest(t)
	old := put(t, s, "debian-12", "build", "debian", "12", "old")
	put(t, s, "debian-12", "build", "debian", "12", "new")
	if _, err := os.Stat(old.Image.Disk); err != nil {
		t.Fatalf("old disk: %v, want it still there", err)
	}
	if _, err := s.Trim(time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old.Image.Disk); err != nil {
		t.Fatalf("old disk after Trim(1h): %v, want it still there", err)
	}
	if _, err := s.Trim(0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old.Image.Disk); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("old disk after Trim(0): got %v, want it gone", err)
	}
	if _, err := s.Resolve("debian-12"); err != nil {
		t.Errorf("current image after Trim: %v", err)
	}
}

func TestTheSameDiskTwice(t *testing.T) {
	s := openTest(t)
	a := put(t, s, "debian-12", "build", "debian", "12", "same")
	b := put(t, s, "debian-12", "build", "debian", "12", "same")
	if a.Image.Disk != b.Image.Disk {
		t.Errorf("got %s and %s, want one folder", a.Image.Disk, b.Image.Disk)
	}
	if err := s.Verify("debian-12"); err != nil {
		t.Error(err)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	damage := map[string]struct {
		do   func(dir string) error
		want string
	}{
		"record is not JSON": {func(d string) error { return os.WriteFile(filepath.Join(d, "record.json"), []byte("{"), 0o644) }, "damaged record"},
		"record is of a later assay": {func(d string) error {
			return os.WriteFile(filepath.Join(d, "record.json"), []byte(`{"format": 9, "image": {"disk": "disk.qcow2"}}`), 0o644)
		}, "got record format 9, want 1"},
		"record is gone": {func(d string) error { return os.Remove(filepath.Join(d, "record.json")) }, "record.json"},
		"disk is gone":   {func(d string) error { return os.Remove(filepath.Join(d, "disk.qcow2")) }, "disk.qcow2"},
		"disk has grown": {func(d string) error {
			return errors.Join(os.Chmod(filepath.Join(d, "disk.qcow2"), 0o644), os.WriteFile(filepath.Join(d, "disk.qcow2"), []byte("more"), 0o644))
		}, "the disk changed"},
	}
	for name, c := range damage {
		t.Run(name, func(t *testing.T) {
			s := openTest(t)
			rec := put(t, s, "debian-12", "build", "debian", "12", "d")
			if err := c.do(filepath.Dir(rec.Image.Disk)); err != nil {
				t.Fatal(err)
			}
			_, err := s.Resolve("debian-12")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "assay image rm debian-12") {
				t.Errorf("got %v, want %q and what to do", err, c.want)
			}
			if err := s.Remove("debian-12"); err != nil {
				t.Errorf("a damaged image must be removable: %v", err)
			}
		})
	}
}

// The same size and time hide a change from Resolve, but not from Verify.
func TestVerifyReadsTheDisk(t *testing.T) {
	s := openTest(t)
	rec := put(t, s, "debian-12", "build", "debian", "12", "good")
	when := time.Unix(0, rec.Stamp.Mtime)
	if err := errors.Join(os.Chmod(rec.Image.Disk, 0o644), os.WriteFile(rec.Image.Disk, []byte("evil"), 0o644), os.Chtimes(rec.Image.Disk, when, when)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("debian-12"); err != nil {
		t.Errorf("Resolve: %v, want it to look at size and time only", err)
	}
	if err := s.Verify("debian-12"); err == nil || !strings.Contains(err.Error(), "got digest") {
		t.Errorf("Verify: got %v, want the digests", err)
	}
}

func TestMatchIsInVersionOrder(t *testing.T) {
	s := openTest(t)
	put(t, s, "ubuntu-9.10", "import", "ubuntu", "9.10", "u")
	put(t, s, "mine", "import", "debian", "12", "m")
	for _, c := range []struct {
		globs []string
		want  []string
	}{
		{[]string{"debian-1*"}, []string{"debian-11", "debian-12", "debian-13"}},
		{[]string{"debian-13", "debian-11", "debian-1[13]"}, []string{"debian-11", "debian-13"}},
		{[]string{"*"}, []string{"debian-11", "debian-12", "mine", "debian-13", "ubuntu-9.10"}},
		{[]string{"ubuntu-*"}, []string{"ubuntu-9.10"}},
		{[]string{"ubuntu-22.04", "ubuntu-9.10"}, []string{"ubuntu-9.10", "ubuntu-22.04"}},
		{[]string{"debian-{11,12}"}, []string{"debian-11", "debian-12"}},
	} {
		got, err := s.Match(c.globs)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Match(%q): got %q, %v, want %q", c.globs, got, err, c.want)
		}
	}
	for _, glob := range []string{"nothing-*", "debian-1", "[", "fedora-*"} {
		if got, err := s.Match([]string{"debian-12", glob}); err == nil {
			t.Errorf("Match(%q): got %q, want an error", glob, got)
		}
	}
}

func TestListSaysHowToGetAnImage(t *testing.T) {
	s := openTest(t)
	put(t, s, "debian-12", "build", "debian", "12", "d")
	list, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name == "debian-12" != e.Present {
			t.Errorf("%s: got present %t", e.Name, e.Present)
		}
		if e.Present == (e.Next != "") {
			t.Errorf("%s: got next step %q and present %t, want one of them", e.Name, e.Next, e.Present)
		}
		if e.Key != assay.VersionKey(e.Version) || e.Title == "" {
			t.Errorf("%s: got key %q and title %q", e.Name, e.Key, e.Title)
		}
	}
}

func TestRemoveTakesEverything(t *testing.T) {
	s := openTest(t)
	put(t, s, "debian-12", "build", "debian", "12", "one")
	put(t, s, "debian-12", "build", "debian", "12", "two")
	put(t, s, "debian-12-mine", "import", "debian", "12", "other")
	if err := s.Remove("debian-12"); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(s.Dir(), "versions"))
	if err != nil || len(left) != 1 || nameOf(left[0].Name()) != "debian-12-mine" {
		t.Errorf("versions: got %v, %v, want the other image's only", left, err)
	}
	if err := s.Remove("debian-12"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("again: got %v, want fs.ErrNotExist", err)
	}
}

// A link that leads out of the store is not followed.
func TestForeignLinksAreRefused(t *testing.T) {
	s := openTest(t)
	if err := os.Symlink("/etc", filepath.Join(s.Dir(), "evil")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve("evil"); err == nil || !strings.Contains(err.Error(), "want one in versions") {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestCatalog(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range theCatalog.Images {
		if checkName(k.Name) != nil || seen[k.Name] || k.OS == "" || k.Version == "" || k.Arch == "" || k.Title == "" {
			t.Errorf("got %+v, want a unique name and every word", k)
		}
		if k.buildable() == (k.File != "") || k.buildable() != (k.Kernel != "") {
			t.Errorf("%s: got suite %q, kernel %q and file %q, want it built or imported", k.Name, k.Suite, k.Kernel, k.File)
		}
		seen[k.Name] = true
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("HOME", "/h")
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("ASSAY_HOME", "")
	if got := DefaultDir(); got != "/h/.local/share/assay/images" {
		t.Error(got)
	}
	t.Setenv("XDG_DATA_HOME", "/d")
	if got := DefaultDir(); got != "/d/assay/images" {
		t.Error(got)
	}
	t.Setenv("ASSAY_HOME", "/a")
	if got := DefaultDir(); got != "/a/images" {
		t.Error(got)
	}
}

var _ interface {
	Resolve(string) (vm.Image, error)
	Match([]string) ([]string, error)
} = (*Store)(nil)

// A lock goes with its image, unless somebody builds that; who waited for one
// that is gone gets the one that has its name now.
func TestLocksAreTrimmed(t *testing.T) {
	s := openTest(t)
	put(t, s, "debian-12", "build", "debian", "12", "a disk")
	for _, name := range []string{"debian-12", "debian-13", "debian-11"} {
		unlock, err := s.lock(t.Context(), name, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if name == "debian-11" {
			defer unlock()
		} else {
			unlock()
		}
	}
	old, err := os.Open(filepath.Join(s.dir, "locks", "debian-13"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := s.Trim(time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"debian-12": true, "debian-13": false, "debian-11": true} {
		if got := exists(filepath.Join(s.dir, "locks", name)); got != want {
			t.Errorf("%s: got its lock there: %v, want %v", name, got, want)
		}
	}
	unlock, err := s.lock(t.Context(), "debian-13", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if isAt(old, old.Name()) {
		t.Error("a lock that was removed passes for the one that is there")
	}
}
