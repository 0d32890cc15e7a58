package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"assay/seed"
	"assay/vm"
)

// ImportOptions is what Import needs beside a file.
type ImportOptions struct {
	Name     string             // default: OS-VERSION, as the guest says
	Agent    []byte             // the static agent for the guest; required
	Driver   vm.Driver          // boots the image once, to learn what it is; required
	Firmware string             // bios or uefi; default: what the disk has
	Scratch  string             // folder for the proving machine; default: the system's temporary folder
	Progress func(phase string) // told what the import is doing, if set
}

// check returns an error that says which option is wrong.
func (o *ImportOptions) check() error {
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	switch {
	case len(o.Agent) == 0:
		return errors.New("got no agent, want the agent's program")
	case o.Driver == nil:
		return errors.New("got no driver, want one that can boot the image once")
	case o.Firmware != "" && o.Firmware != "bios" && o.Firmware != "uefi":
		return fmt.Errorf("firmware: got %q, want bios or uefi", o.Firmware)
	case o.Name != "":
		return checkName(o.Name)
	}
	return nil
}

// Import takes a qcow2 or raw disk that boots itself and has cloud-init into the
// store, and returns it. The file is copied and stays as it is. The image is
// booted once: it gets the agent from a seed disk, as at every later cold boot,
// and says which operating system it is. A name that is taken is an error.
func (s *Store) Import(ctx context.Context, file string, opt ImportOptions) (vm.Image, error) {
	rec, err := s.importDisk(ctx, file, opt)
	if err != nil {
		return vm.Image{}, fmt.Errorf("%s: %w", plainName(file), explain(err, s.dir))
	}
	return rec.Image, nil
}

func (s *Store) importDisk(ctx context.Context, file string, opt ImportOptions) (Record, error) {
	if err := opt.check(); err != nil {
		return Record{}, err
	}
	if err := s.free(opt.Name); err != nil {
		return Record{}, err
	}
	if err := needTools(importTools); err != nil {
		return Record{}, err
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return Record{}, err
	}
	d, err := inspectDisk(file)
	if err != nil {
		return Record{}, &FileError{err}
	}
	work, err := s.temp()
	if err != nil {
		return Record{}, err
	}
	defer work.remove()
	if err := needRoom(work.path, occupied(file)+64<<20); err != nil {
		return Record{}, err
	}
	clock := newClock(opt.Progress)
	rec, err := prepareImport(ctx, file, d, opt, work, clock)
	if err != nil {
		return Record{}, err
	}
	if err := (proof{opt.Driver, opt.Scratch, clock.phase}).boot(ctx, &rec); err != nil {
		return Record{}, err
	}
	rec.Seconds = clock.stop()
	return s.commitImport(ctx, rec, opt)
}

// free reports whether an image may have that name.
func (s *Store) free(name string) error {
	if name == "" {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(s.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("the name %s is taken; choose another with --name, or run %q first", name, "assay image rm "+name)
}

// prepareImport makes a version that has yet to be booted: disk, seed and record.
func prepareImport(ctx context.Context, file string, d diskFile, opt ImportOptions, work *tempDir, clock *clock) (Record, error) {
	clock.phase("copying the disk")
	dir := filepath.Join(work.path, "version")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Record{}, err
	}
	disk, firmware, err := convertTo(ctx, file, d, dir)
	if err != nil {
		return Record{}, err
	}
	rec, err := diskRecord(disk, roundUp(d.size))
	if err != nil {
		return rec, err
	}
	rec.How, rec.Source = "import", plainName(file)
	rec.Image.Name, rec.Image.Arch = "import", "amd64"
	if rec.Image.Firmware = opt.Firmware; opt.Firmware == "" {
		rec.Image.Firmware = firmware
	}
	return rec, addSeed(dir, opt.Agent, &rec)
}

// roundUp returns a size that qemu-img makes of one that is not whole sectors.
func roundUp(size int64) int64 { return (size + 511) &^ 511 }

// addSeed writes the seed disk that brings the agent into an image.
func addSeed(dir string, agent []byte, rec *Record) error {
	rec.Image.Seed = filepath.Join(dir, "seed.iso")
	rec.Agent, rec.Recipe = agentDigest(agent), seedDigest()
	opt := seed.Options{Agent: agent, ID: "assay-" + strings.TrimPrefix(rec.Image.Digest, "sha256:")[:16]}
	if err := seed.Write(rec.Image.Seed, opt); err != nil {
		return err
	}
	return os.Chmod(rec.Image.Seed, 0o444)
}

// seedDigest names everything that a seed disk depends on besides agent and disk.
func seedDigest() string {
	content, err := seed.Content(seed.Options{})
	if err != nil {
		panic(err) // no option is wrong
	}
	var parts [][]byte
	for _, f := range content {
		parts = append(parts, []byte(f.Name), f.Data)
	}
	return digest(parts...)
}

// commitImport names the image after what its guest said, and keeps it.
func (s *Store) commitImport(ctx context.Context, rec Record, opt ImportOptions) (Record, error) {
	rec.Image.OS, rec.Image.Version, rec.Image.Arch = rec.OS.ID, rec.OS.Version, rec.OS.Arch
	rec.Image.Name = opt.Name
	if opt.Name == "" {
		rec.Image.Name = strings.Trim(rec.OS.ID+"-"+rec.OS.Version, "-")
	}
	if err := checkName(rec.Image.Name); err != nil {
		return rec, fmt.Errorf("the guest says that it is %q %q: %w; choose a name with --name", rec.OS.ID, rec.OS.Version, err)
	}
	unlock, err := s.lock(ctx, rec.Image.Name, opt.Progress)
	if err != nil {
		return rec, err
	}
	defer unlock()
	if err := s.free(rec.Image.Name); err != nil {
		return rec, err
	}
	return s.commit(filepath.Dir(rec.Image.Disk), rec)
}

// reseed makes a new version of an imported image with another agent.
func (s *Store) reseed(ctx context.Context, rec Record, opt BuildOptions) (Record, error) {
	if rec.Agent == agentDigest(opt.Agent) && rec.Recipe == seedDigest() {
		return rec, nil
	}
	work, err := s.temp()
	if err != nil {
		return Record{}, err
	}
	defer work.remove()
	dir := filepath.Join(work.path, "version")
	disk := filepath.Join(dir, filepath.Base(rec.Image.Disk))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Record{}, err
	}
	if err := os.Link(rec.Image.Disk, disk); err != nil {
		return Record{}, err
	}
	rec.Image.Disk, rec.Image.Manifest, rec.Booted = disk, "", false
	if err := addSeed(dir, opt.Agent, &rec); err != nil {
		return Record{}, err
	}
	if opt.Driver != nil {
		if err := (proof{opt.Driver, opt.Scratch, opt.Progress}).boot(ctx, &rec); err != nil {
			return Record{}, err
		}
	}
	return s.commit(dir, rec)
}
