// Package images makes base images and keeps them: it builds Debian from
// Debian's packages, imports cloud images, and finds both again by name.
//
// It knows package managers' and disk tools' command lines, the layout of its
// store, and how an agent gets into a disk. It does not know scripts, and no
// hypervisor: an image is proved by booting it once on whatever vm.Driver the
// caller hands in.
//
// The store is a folder:
//
//	debian-12 -> versions/debian-12-3f2a…   what the name means now
//	versions/NAME-DIGEST/                   disk.qcow2, kernel, initrd, seed, manifest, record.json; never changed
//	base/NAME-RECIPE/                       the unpacked packages without an agent, so that a new agent costs seconds
//	locks/NAME                              held by whoever builds NAME
//	tmp/                                    builds under way; what a killed one left is removed by the next
package images

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"assay"
	"assay/vm"
)

// Store is a folder of images. Its methods are safe for concurrent use, also by
// several processes.
type Store struct{ dir string }

// Entry is one image that is known: from the catalog, the store, or both.
type Entry struct {
	Name    string    `json:"name"`
	OS      string    `json:"os"`
	Version string    `json:"version"`
	Key     string    `json:"key"` // sortable version: assay.VersionKey
	Arch    string    `json:"arch"`
	Title   string    `json:"title"`
	How     string    `json:"how"`               // build or import
	Present bool      `json:"present"`           // it is in the store
	Problem string    `json:"problem,omitempty"` // why what is in the store cannot be used
	Next    string    `json:"next,omitempty"`    // how to get it, when it is not present
	Digest  string    `json:"digest,omitempty"`  // sha256:… of the disk
	Size    int64     `json:"size,omitempty"`    // virtual size, bytes
	Bytes   int64     `json:"bytes,omitempty"`   // that the disk occupies here
	Made    time.Time `json:"made,omitzero"`
	Kernel  string    `json:"kernel,omitempty"`
	Agent   string    `json:"agent,omitempty"` // sha256:… of the agent inside
}

// Package is one installed package of a built image.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

// Record says how an image came to be. It is record.json beside the disk.
type Record struct {
	Format   int                `json:"format"` // of this file: recordFormat
	How      string             `json:"how"`    // build or import
	Image    vm.Image           `json:"image"`  // paths are absolute in memory, base names in the file
	OS       assay.OS           `json:"os"`     // as the guest said; from its files when it was not booted
	Booted   bool               `json:"booted"` // it was booted once, and its agent answered
	Boot     float64            `json:"boot_seconds,omitempty"`
	Agent    string             `json:"agent"`                       // sha256:… of the agent inside
	Recipe   string             `json:"recipe"`                      // sha256:… of what assay put in besides packages and agent
	Epoch    int64              `json:"source_date_epoch,omitempty"` // Unix seconds: the newest file of the packages; no time in the disk is later
	Tools    map[string]string  `json:"tools,omitempty"`             // versions of mmdebstrap, mke2fs, qemu-img
	Packages []Package          `json:"packages,omitempty"`          // sorted by name
	Rootfs   int64              `json:"rootfs_bytes,omitempty"`
	Bytes    int64              `json:"bytes"` // that the disk occupies here
	Stamp    Stamp              `json:"stamp"`
	Made     time.Time          `json:"made"`
	Seconds  map[string]float64 `json:"seconds"`          // by phase
	Assay    string             `json:"assay"`            // version of assay
	Source   string             `json:"source,omitempty"` // base name of the file that was imported
}

// Stamp is the disk file's size and time when its digest was taken, so that a
// change is noticed without reading the disk.
type Stamp struct {
	Size  int64 `json:"size"`  // bytes
	Mtime int64 `json:"mtime"` // Unix nanoseconds
}

// NotFoundError says that the store has no image of that name.
type NotFoundError struct {
	Name string
	Next string   // what to do, if the catalog knows the name
	Near []string // names that are close to it, if the catalog does not
}

func (e *NotFoundError) Error() string {
	switch {
	case e.Next != "":
		return fmt.Sprintf("%s: no image; %s", e.Name, e.Next)
	case len(e.Near) > 0:
		return fmt.Sprintf("%s: unknown image; nearest: %s; see \"assay image list\"", e.Name, strings.Join(e.Near, ", "))
	}
	return fmt.Sprintf("%s: unknown image; see \"assay image list\"", e.Name)
}

// Is makes errors.Is(err, fs.ErrNotExist) true.
func (e *NotFoundError) Is(target error) bool { return target == os.ErrNotExist }

// DefaultDir returns the folder of the user's images: below $ASSAY_HOME, else
// below the user's data folder.
func DefaultDir() string {
	if home := os.Getenv("ASSAY_HOME"); home != "" {
		return filepath.Join(home, "images")
	}
	if data := os.Getenv("XDG_DATA_HOME"); data != "" {
		return filepath.Join(data, "assay", "images")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "assay", "images")
	}
	return filepath.Join(home, ".local", "share", "assay", "images")
}

// Open opens the store in dir, which is made if it is missing.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	for _, sub := range []string{"versions", "base", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o755); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	return &Store{dir: abs}, nil
}

// Dir returns the store's folder.
func (s *Store) Dir() string { return s.dir }

var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}$`)

// reserved are the names of the store's own folders.
var reserved = map[string]bool{"versions": true, "base": true, "locks": true, "tmp": true}

func checkName(name string) error {
	if !nameRE.MatchString(name) || reserved[name] {
		return &NameError{name}
	}
	return nil
}

// A NameError says that no image can have that name.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("image name: got %q, want at most 40 of a-z, 0-9, dot and dash, such as debian-12", e.Name)
}
