package capture

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// lister is a Source that describes a folder's entries in one go, which is much
// faster than one Lstat and one Readlink for each.
type lister interface {
	list(dir string) ([]entry, error)
}

// opener is a Source that can stream a regular file, so that its length does not
// matter. It neither follows a link nor waits for anything, such as a FIFO's writer.
type opener interface {
	open(path string) (io.ReadCloser, error)
}

// source adds to any Source what the best ones have.
type source struct{ Source }

// maxSmall is the longest file that is read from a source that cannot stream.
const maxSmall = 64 << 20

func (s source) open(p string) (io.ReadCloser, error) {
	if o, ok := s.Source.(opener); ok {
		return o.open(p)
	}
	data, err := s.ReadFile(p, maxSmall)
	return io.NopCloser(bytes.NewReader(data)), err
}

func (s source) list(dir string) ([]entry, error) {
	if l, ok := s.Source.(lister); ok {
		return l.list(dir)
	}
	found, err := s.ReadDir(dir)
	entries := make([]entry, 0, len(found))
	for _, d := range found {
		p := path.Join(dir, d.Name())
		st, err := s.Lstat(p)
		if err != nil {
			continue
		}
		entries = append(entries, entry{path: p, stat: st, target: s.target(p, st)})
	}
	return entries, err
}

// target returns where a link points; empty for all else.
func (s source) target(p string, st Stat) string {
	if st.Mode&typeMask != typeLink {
		return ""
	}
	t, _ := s.Readlink(p)
	return t
}

// text reads a small file; a missing one is empty, any other trouble is a problem
// of the collector named by who.
func text(src Source, out *Sink, who, p string) string {
	data, err := src.ReadFile(p, 16<<20)
	if err != nil && !missing(err) {
		out.Problem("%s: %s: %s", who, p, cause(err))
	}
	return strings.ToValidUTF8(string(data), "�")
}

// digestOf returns the SHA-256 of a small file; "" for what is none.
func digestOf(src Source, out *Sink, who, p string) string {
	if st, err := src.Lstat(p); err != nil || st.Mode&typeMask == typeDir {
		return ""
	}
	data, err := src.ReadFile(p, 16<<20)
	if err != nil {
		if !missing(err) {
			out.Problem("%s: %s: %s", who, p, cause(err))
		}
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// entriesOf lists a folder's names; a missing one has none.
func entriesOf(src Source, out *Sink, who, dir string) []string {
	found, err := src.ReadDir(dir)
	if err != nil && !missing(err) {
		out.Problem("%s: %s: %s", who, dir, cause(err))
	}
	names := make([]string, 0, len(found))
	for _, d := range found {
		names = append(names, d.Name())
	}
	return names
}

// missing reports whether there is nothing at a path, because it or a folder above
// is not there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// cause strips what an error repeats of the call.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	var se *os.SyscallError
	if errors.As(err, &se) {
		return se.Err.Error()
	}
	return err.Error()
}
