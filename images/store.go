package images

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay"
	"assay/capture"
	"assay/vm"

	"github.com/bmatcuk/doublestar/v4"
)

// recordFormat is the version of record.json that this package writes and reads.
const recordFormat = 1

// maxRecord bounds record.json, in bytes: a thousand packages are 100 KiB.
const maxRecord = 8 << 20

// Resolve returns the image of that name. The error is a *NotFoundError if the
// store does not have it, with what to do. The disk is checked by size and time
// only; Verify reads it. An image whose agent observes otherwise than this assay is
// an error: nothing could be compared with what it was.
func (s *Store) Resolve(name string) (vm.Image, error) {
	rec, err := s.Record(name)
	if err != nil || rec.Image.Manifest == "" {
		return rec.Image, err
	}
	if err := capture.CheckManifest(rec.Image.Manifest); err != nil {
		return vm.Image{}, fmt.Errorf("image %s: made by another assay: %w; run %q", name, err, rec.again())
	}
	return rec.Image, nil
}

// again is the command that makes an image once more.
func (r Record) again() string {
	if r.How == "build" {
		return "assay image build " + r.Image.Name
	}
	return "assay image import FILE --name " + r.Image.Name
}

// Record returns how the image of that name came to be. Errors are Resolve's.
func (s *Store) Record(name string) (Record, error) {
	if err := checkName(name); err != nil {
		return Record{}, err
	}
	dir, err := s.current(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, s.notFound(name)
	}
	if err != nil {
		return Record{}, fmt.Errorf("image %s: %w", name, err)
	}
	rec, err := readRecord(dir)
	if err != nil {
		return Record{}, fmt.Errorf("image %s: %w; run %q and make it again", name, err, "assay image rm "+name)
	}
	return rec, nil
}

// current returns the folder that the name means now.
func (s *Store) current(name string) (string, error) {
	target, err := os.Readlink(filepath.Join(s.dir, name))
	if err != nil {
		return "", err
	}
	if filepath.Dir(target) != "versions" {
		return "", fmt.Errorf("store: link %s: got target %q, want one in versions", name, target)
	}
	return filepath.Join(s.dir, target), nil
}

// readRecord reads the record in a version's folder and checks its disk's stamp.
func readRecord(dir string) (Record, error) {
	var rec Record
	path := filepath.Join(dir, "record.json")
	data, err := readBounded(path, maxRecord)
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(data, &rec); err != nil {
		return Record{}, fmt.Errorf("%s: damaged record: %w", path, err)
	}
	if rec.Format != recordFormat || rec.Image.Disk == "" {
		return Record{}, fmt.Errorf("%s: got record format %d, want %d", path, rec.Format, recordFormat)
	}
	eachPath(&rec.Image, func(p *string) { *p = filepath.Join(dir, filepath.Base(*p)) })
	stamp, err := stampOf(rec.Image.Disk)
	if err == nil && stamp != rec.Stamp {
		err = fmt.Errorf("%s: the disk changed after its digest was taken", rec.Image.Disk)
	}
	if err != nil {
		return Record{}, err
	}
	return rec, nil
}

// eachPath calls fn for every path that img has.
func eachPath(img *vm.Image, fn func(*string)) {
	for _, p := range []*string{&img.Disk, &img.Kernel, &img.Initrd, &img.Seed, &img.Manifest} {
		if *p != "" {
			fn(p)
		}
	}
}

// writeRecord writes rec into dir, with base names for paths, atomically.
func writeRecord(dir string, rec Record) error {
	eachPath(&rec.Image, func(p *string) { *p = filepath.Base(*p) })
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "record.json"), append(data, '\n'), 0o644)
}

// List returns every image that the catalog or the store knows, by operating
// system and version. An image whose record cannot be read has a Problem.
func (s *Store) List() ([]Entry, error) {
	entries := map[string]Entry{}
	for _, k := range theCatalog.Images {
		entries[k.Name] = k.entry()
	}
	names, err := s.local()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		entries[name] = s.localEntry(name, entries[name])
	}
	list := make([]Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return compareVersions(a.OS, a.Version, a.Name, b.OS, b.Version, b.Name)
	})
	return list, nil
}

// local returns the names in the store, sorted.
func (s *Store) local() ([]string, error) {
	dir, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	var names []string
	for _, e := range dir {
		if e.Type()&fs.ModeSymlink != 0 && checkName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// entry describes an image that is not in the store.
func (k known) entry() Entry {
	how := "import"
	if k.buildable() {
		how = "build"
	}
	return Entry{
		Name: k.Name, OS: k.OS, Version: k.Version, Key: assay.VersionKey(k.Version),
		Arch: k.Arch, Title: k.Title, How: how, Next: k.next(),
	}
}

// localEntry fills in what the store knows of name; e is what the catalog said.
func (s *Store) localEntry(name string, e Entry) Entry {
	e.Name = name
	rec, err := s.Record(name)
	if err != nil {
		e.Problem = err.Error()
		return e
	}
	e.Present, e.Next, e.How = true, "", rec.How
	e.OS, e.Version, e.Arch = rec.Image.OS, rec.Image.Version, rec.Image.Arch
	e.Key = assay.VersionKey(e.Version)
	if rec.OS.Name != "" {
		e.Title = rec.OS.Name
	}
	e.Digest, e.Size, e.Bytes = rec.Image.Digest, rec.Image.Size, rec.Bytes
	e.Made, e.Kernel, e.Agent = rec.Made, rec.OS.Kernel, rec.Agent
	return e
}

// Match returns the names that any of the globs matches, each once, by operating
// system and version. A glob with wildcards sees what can be had without a
// person: what is in the store, and what the catalog can build. A plain name
// sees the whole catalog. A glob that matches nothing is an error.
func (s *Store) Match(globs []string) ([]string, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, glob := range globs {
		if err := choose(list, glob, chosen); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, e := range list {
		if chosen[e.Name] {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

func choose(list []Entry, glob string, chosen map[string]bool) error {
	if !doublestar.ValidatePattern(glob) {
		return fmt.Errorf("image: got the malformed pattern %q, want a name or a glob such as 'debian-*'", glob)
	}
	found := false
	for _, e := range list {
		ok := e.Name == glob
		if !ok && (e.Present || e.How == "build") {
			ok, _ = doublestar.Match(glob, e.Name)
		}
		if ok {
			chosen[e.Name], found = true, true
		}
	}
	if !found {
		return &NotFoundError{Name: glob, Near: nearest(glob, list)}
	}
	return nil
}

// notFound says what to do about a name that the store does not have.
func (s *Store) notFound(name string) error {
	if k, ok := theCatalog.find(name); ok {
		return &NotFoundError{Name: name, Next: k.next()}
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	return &NotFoundError{Name: name, Near: nearest(name, list)}
}

// Verify reads the image's whole disk and compares its digest with the record.
func (s *Store) Verify(name string) error {
	rec, err := s.Record(name)
	if err != nil {
		return err
	}
	digest, err := digestFile(rec.Image.Disk)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if digest != rec.Image.Digest {
		return fmt.Errorf("image %s: %s: got digest %s, want %s; run %q and make it again",
			name, rec.Image.Disk, digest, rec.Image.Digest, "assay image rm "+name)
	}
	return nil
}

// Remove removes the image of that name with everything kept for it, earlier
// versions and unpacked packages included. Machines that run on it keep running,
// but cannot be snapshot or forked any more.
func (s *Store) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(s.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return s.notFound(name)
	}
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	if _, err := s.removeVersions(name, time.Now(), ""); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return s.removeBases(name, "")
}

// removeVersions removes the versions of name that were made before a time,
// other than keep, and returns the bytes that they occupied.
func (s *Store) removeVersions(name string, before time.Time, keep string) (int64, error) {
	return removeOf(filepath.Join(s.dir, "versions"), name, func(path string, info fs.FileInfo) bool {
		return path != keep && info.ModTime().Before(before)
	})
}

// removeBases removes the unpacked packages of name, other than keep.
func (s *Store) removeBases(name, keep string) error {
	_, err := removeOf(filepath.Join(s.dir, "base"), name, func(path string, _ fs.FileInfo) bool { return path != keep })
	return err
}

// removeOf removes the folders NAME-HEX in dir that drop says.
func removeOf(dir, name string, drop func(string, fs.FileInfo) bool) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var freed int64
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(dir, e.Name())
		if err != nil || nameOf(e.Name()) != name || !drop(path, info) {
			continue
		}
		freed += occupied(path)
		if err := os.RemoveAll(path); err != nil {
			return freed, err
		}
	}
	return freed, nil
}

// nameOf returns the image's name in a folder's name NAME-HEX.
func nameOf(folder string) string {
	i := strings.LastIndexByte(folder, '-')
	return folder[:max(i, 0)]
}

// Trim removes versions that no name means any more and that are older than
// age, and what killed builds left. It returns the bytes freed. The caller knows
// that no machine or template older than age is in use.
func (s *Store) Trim(age time.Duration) (int64, error) {
	freed := s.sweepTemp()
	s.trimLocks()
	entries, err := os.ReadDir(filepath.Join(s.dir, "versions"))
	if err != nil {
		return freed, fmt.Errorf("image store: %w", err)
	}
	for _, e := range entries {
		keep, _ := s.current(nameOf(e.Name()))
		n, err := s.removeVersions(nameOf(e.Name()), time.Now().Add(-age), keep)
		freed += n
		if err != nil {
			return freed, fmt.Errorf("image store: %w", err)
		}
	}
	return freed, nil
}

// commit moves a finished version from its temporary folder to its place, and
// makes its name mean it. What the name meant before stays, for machines that
// still run on it, until Trim.
func (s *Store) commit(dir string, rec Record) (Record, error) {
	if err := writeRecord(dir, rec); err != nil {
		return rec, err
	}
	if err := syncTree(dir); err != nil {
		return rec, err
	}
	digest := strings.TrimPrefix(rec.Image.Digest, "sha256:")
	rel := filepath.Join("versions", rec.Image.Name+"-"+digest[:16])
	final := filepath.Join(s.dir, rel)
	if err := replaceDir(dir, final); err != nil {
		return rec, err
	}
	if err := s.point(rec.Image.Name, rel); err != nil {
		return rec, err
	}
	return readRecord(final)
}

// point makes a name mean a version, atomically.
func (s *Store) point(name, rel string) error {
	tmp := filepath.Join(s.dir, "tmp", fmt.Sprintf("link-%s-%d", name, os.Getpid()))
	os.Remove(tmp)
	if err := os.Symlink(rel, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, name)); err != nil {
		return err
	}
	return syncDir(s.dir)
}
