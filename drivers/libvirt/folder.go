package libvirt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"assay/drivers/internal/cli"
)

const (
	maxSocketPath = 103      // bytes; 108 on Linux, with an end
	socketPrefix  = "assay-" // of socket folders in a host's temporary folder
)

// makeFolder makes $1, which belongs to the machine $2 and to no other, with the
// mode $3.
const makeFolder = `set -e; mkdir -p "${1%/*}"; umask 077; mkdir -p "$1"; (set -C; echo "$2" >"$1/assay-domain") 2>/dev/null || exit 17; chmod "$3" "$1"`

// takeFile gives the file $1 the name $2 as well, or copies it there if it
// cannot have two names or QEMU's user could not read it.
const takeFile = `set -e; ln "$1" "$2" 2>/dev/null && [ -n "$(find "$2" -perm -004)" ] && exit
rm -f "$2"; cp --reflink=auto "$1" "$2"; chmod 444 "$2"`

// receive writes its input to $1 of the folder $2, whole or not at all, and
// keeps no more than the two dozen files that were used last.
const receive = `set -e; mkdir -p "$2"; cd "$2"; cat >"$1.$$"; mv "$1.$$" "$1"
ls -t | tail -n +25 | while read -r old; do rm -f "$old"; done`

// makeDisk makes the disk $2 over the base $1 of format $3, $4 bytes large, for
// the user $5.
const makeDisk = `set -e; qemu-img create -q -f qcow2 -b "$1" -F "$3" "$2" "$4"; chmod 600 "$2"; [ -z "$5" ] || chown "$5" "$2"`

// settle gives the machine its folders, and its image's files in them if they
// could not be used where they are.
func (m *machine) settle(ctx context.Context) error {
	s := m.site
	if s.base != "" {
		m.dir = path.Join(s.base, m.name)
	}
	if err := m.needs(ctx); err != nil {
		return err
	}
	mode := "700"
	if s.base != "" {
		mode = "711" // another user's QEMU passes through
	}
	_, err := s.sh(ctx, nil, makeFolder, m.dir, m.name, mode)
	if failed := (*cli.Error)(nil); errors.As(err, &failed) && failed.Exit == 17 {
		return fmt.Errorf("%s: %w", m.dir, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	m.made = true
	return m.socketFolders(ctx)
}

// needs says what is missing on the hypervisor's host.
func (m *machine) needs(ctx context.Context) error {
	_, err := m.site.sh(ctx, nil, `command -v qemu-img >/dev/null`)
	if failed := (*cli.Error)(nil); errors.As(err, &failed) && failed.Exit > 0 && failed.Exit < 255 {
		return unavailable("qemu-img is not installed", "apt-get install qemu-utils")
	}
	return err
}

// socketFolders finds folders whose paths are short enough for sockets: where
// QEMU makes them, and where they can be dialled.
func (m *machine) socketFolders(ctx context.Context) error {
	m.sockets = m.dir
	if len(path.Join(m.dir, consoleName)) > maxSocketPath {
		dir, err := m.site.sh(ctx, nil, `dir=$(mktemp -d "${TMPDIR:-/tmp}/assay-XXXXXX") && chmod 711 "$dir" && echo "$1" >"$dir/assay-domain" && echo "$dir"`, m.name)
		if err != nil {
			return err
		}
		m.sockets = dir
	}
	m.ends = m.sockets
	if !m.site.remote {
		return nil
	}
	var err error
	m.ends, err = os.MkdirTemp("", socketPrefix)
	return err
}

// takeImage makes the image's files visible to QEMU, and returns how the
// machine's disk calls its base.
func (m *machine) takeImage(ctx context.Context) (base string, err error) {
	img := &m.hw.Image
	if m.site.base == "" {
		return img.Disk, nil
	}
	for name, file := range map[string]*string{"kernel": &img.Kernel, "initrd": &img.Initrd, "seed": &img.Seed, "base": &img.Disk} {
		if *file == "" {
			continue
		}
		if err := m.take(ctx, *file, name); err != nil {
			return "", err
		}
		if name != "base" {
			*file = path.Join(m.dir, name)
		}
	}
	return "base", nil // beside the disk, wherever a fork's folder is
}

// take brings one file into the machine's folder.
func (m *machine) take(ctx context.Context, file, name string) (err error) {
	from := file
	if m.site.remote {
		if from, err = m.site.upload(ctx, file); err != nil {
			return err
		}
	}
	_, err = m.site.sh(ctx, nil, takeFile, from, path.Join(m.dir, name))
	return err
}

// upload brings a file to the hypervisor's host, unless it is there from an
// earlier time, and returns its path there.
func (s *site) upload(ctx context.Context, file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	f, err := os.Open(abs)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	// Images never change; a path that comes to mean another file has another time.
	key := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s %d %d", abs, info.Size(), info.ModTime().UnixNano())))[:32]
	cache := path.Join(s.base, "assay-files")
	_, err = s.sh(ctx, nil, `touch -c "$1" && [ "$(stat -c %s "$1")" = "$2" ]`, path.Join(cache, key), strconv.FormatInt(info.Size(), 10))
	if err != nil {
		_, err = s.sh(ctx, f, receive, key, cache)
	}
	return path.Join(cache, key), err
}

// owner is whom chown shall give QEMU's files; empty if they are QEMU's already.
func (s *site) owner() string {
	if s.label == "" || s.relabel {
		return ""
	}
	return fmt.Sprintf("%d:%d", s.uid, s.gid)
}

// createDisk makes the machine's disk over the image's.
func (m *machine) createDisk(ctx context.Context) error {
	base, err := m.takeImage(ctx)
	if err != nil {
		return err
	}
	_, err = m.site.sh(ctx, nil, makeDisk, base, path.Join(m.dir, diskName), m.hw.Image.Format, strconv.FormatInt(m.hw.Size, 10), m.site.owner())
	return err
}

// clearAll removes the folders $1 and $3 of the machine $2, and its logs from $4. A
// folder that does not say that it is the machine's stays, and is an error.
const clearAll = `for dir in "$1" "$3"; do
	[ -n "$dir" ] && [ -e "$dir" ] || continue
	[ "$(cat "$dir/assay-domain" 2>/dev/null)" = "$2" ] || { echo "$dir is not the machine's own" >&2; exit 1; }
	rm -rf "$dir"
done
rm -f "$4/$2.log" "$4/$2.log."* 2>/dev/null || true`

// A place is where a machine's files and sockets are, on the hypervisor's host.
type place struct{ dir, sockets string }

// clear removes what was made for the domain called name on its host.
func (s *site) clear(ctx context.Context, name string, at place) error {
	if at.sockets == at.dir {
		at.sockets = ""
	}
	_, err := s.sh(ctx, nil, clearAll, at.dir, name, at.sockets, s.logs)
	return err
}

// folders lists the machines that have a folder at the site.
func (s *site) folders(ctx context.Context) ([]string, error) {
	if s.base == "" {
		return nil, nil
	}
	out, err := s.sh(ctx, nil, `cd "$1" 2>/dev/null || exit 0; for d in assay-*; do [ -e "$d/assay-domain" ] && echo "$d"; done; true`, s.base)
	return lines(out), err
}

// missing reports whether err says that something is gone already.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
