// Package capture observes what a machine is and compares two observations.
//
// A capture is a set of records, each with a kind, a key and attributes.
// Collectors make them, one file each; Diff compares any two captures without
// knowing the kinds. Collectors parse; they never judge: what a change means is
// the grade room's business.
package capture

import (
	"context"
	"io/fs"
)

// A Record is one observed fact. Kind and Key name it; no two records of a
// capture share both.
type Record struct {
	Kind  string            `json:"kind"` // file, package, process, unit, cron, user, ...
	Key   string            `json:"key"`  // absolute path, dpkg:jq, ...
	Attrs map[string]string `json:"attrs,omitempty"`
}

// A Capture is what a machine was at one moment. Records are sorted by kind,
// then key.
type Capture struct {
	Image    string   `json:"image,omitempty"` // digest of the image
	Version  int      `json:"version"`         // of the collectors: captures of different versions cannot be compared
	Records  []Record `json:"records"`
	Problems []string `json:"problems,omitempty"` // what could not be observed, and why
	Witness  string   `json:"witness,omitempty"`  // who told of the files: WitnessHost or WitnessGuest; empty: unknown
	Partial  bool     `json:"partial,omitempty"`  // no agent answered: the capture holds what lies on the disk only
}

// A Collector observes one kind of state. Collectors run in the agent, on a
// Source; they must not change what they look at, and must bound what they read.
type Collector interface {
	// Name returns the collector's name: files, packages, units.
	Name() string
	// Kinds returns the kinds of record that it emits.
	Kinds() []string
	// Collect emits records in any order. What can't be read is a problem and not
	// an error; an error means that the collector has nothing to say at all.
	Collect(ctx context.Context, src Source, out *Sink) error
}

// A Source is what collectors look at: the guest itself, an unpacked fixture,
// or a disk that the host reads. Paths are absolute, in the guest's terms.
// Implementations never follow a symlink out of the guest's root.
type Source interface {
	// ReadFile reads a file, following symlinks inside the guest's root, at most
	// limit bytes: a longer file is an error that says so.
	ReadFile(path string, limit int64) ([]byte, error)
	// ReadDir lists a folder, sorted by name.
	ReadDir(path string) ([]fs.DirEntry, error)
	// Lstat describes a path without following it.
	Lstat(path string) (Stat, error)
	// Readlink returns a symlink's target.
	Readlink(path string) (string, error)
	// Xattrs returns a path's extended attributes, without following it.
	Xattrs(path string) (map[string][]byte, error)
	// Run runs a program in the guest and returns its standard output, at most
	// 16 MiB. A source that is not alive returns errors.ErrUnsupported.
	Run(ctx context.Context, argv ...string) ([]byte, error)
}

// Stat is what Lstat returns.
type Stat struct {
	Mode         uint32 // st_mode: type and permission bits
	UID, GID     uint32
	Size         int64
	Held         int64 // bytes of content that take room: the rest are holes
	Ino, Nlink   uint64
	Dev, Rdev    uint64
	Mtime, Ctime int64 // Unix nanoseconds
}
