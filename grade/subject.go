package grade

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"unicode/utf8"
)

// The bounds of a subject. What is past them is left out, and Truncated says so.
const (
	maxSubjectFiles = 2000
	maxSubjectText  = 256 << 10 // bytes of one file's text
	maxSubjectTotal = 16 << 20  // bytes of text of all files
	maxSubjectHash  = 64 << 20  // bytes of one file that are hashed
)

// A Subject is the software under test as it lies on the host.
type Subject struct {
	Name      string        `json:"name"`
	Files     []SubjectFile `json:"files"`               // sorted by path
	Truncated bool          `json:"truncated,omitempty"` // there was more than the bounds allow

	// Meta and Entry are what a script found out, such as an agent skill's front
	// matter and the script that starts it. Scripts set them with describe().
	Meta  map[string]string `json:"meta,omitempty"`
	Entry string            `json:"entry,omitempty"`
}

// A SubjectFile is one regular file of a subject.
type SubjectFile struct {
	Path   string `json:"path"`             // slash-separated, relative to the subject
	Mode   uint32 `json:"mode"`             // permission bits
	Size   int64  `json:"size"`             // bytes
	Text   string `json:"text,omitempty"`   // empty if the file is binary or longer than 256 KiB
	Digest string `json:"digest,omitempty"` // sha256 in hex; empty if the file is longer than 64 MiB
}

// ReadSubject reads the subject in fsys: every regular file, no link followed,
// version control folders left out, at most 2,000 files. A single file is a
// subject too: give the fs.FS of a folder with nothing else in it, or build a
// Subject by hand.
func ReadSubject(fsys fs.FS, name string) (*Subject, error) {
	r := reader{fsys: fsys, subject: &Subject{Name: name}}
	err := fs.WalkDir(fsys, ".", r.visit)
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, fmt.Errorf("subject: %s: %w", name, err)
	}
	return r.subject, nil
}

// A reader fills a subject from a file system.
type reader struct {
	fsys    fs.FS
	subject *Subject
	total   int // bytes of text so far
}

func (r *reader) visit(p string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case d.IsDir() && (d.Name() == ".git" || d.Name() == ".hg" || d.Name() == ".svn"):
		return fs.SkipDir
	case !d.Type().IsRegular():
		return nil
	case len(r.subject.Files) == maxSubjectFiles:
		r.subject.Truncated = true
		return fs.SkipAll
	}
	f, err := r.file(p, d)
	if err != nil {
		return err
	}
	r.subject.Files = append(r.subject.Files, f)
	return nil
}

func (r *reader) file(p string, d fs.DirEntry) (SubjectFile, error) {
	info, err := d.Info()
	if err != nil {
		return SubjectFile{}, err
	}
	f := SubjectFile{Path: path.Clean(p), Mode: uint32(info.Mode().Perm()), Size: info.Size()}
	if info.Size() > maxSubjectHash {
		r.subject.Truncated = true
		return f, nil
	}
	src, err := r.fsys.Open(p)
	if err != nil {
		return f, err
	}
	defer src.Close()
	var head bytes.Buffer
	hash := sha256.New()
	if _, err := io.Copy(hash, io.TeeReader(io.LimitReader(src, maxSubjectHash), &capped{&head, maxSubjectText + 1})); err != nil {
		return f, fmt.Errorf("read: %s: %w", p, err)
	}
	f.Digest = hex.EncodeToString(hash.Sum(nil))
	f.Text = r.text(head.Bytes())
	return f, nil
}

// text returns data as text, or "" if it is none or past the bounds.
func (r *reader) text(data []byte) string {
	if len(data) > maxSubjectText || bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return ""
	}
	if r.total+len(data) > maxSubjectTotal {
		r.subject.Truncated = true
		return ""
	}
	r.total += len(data)
	return string(data)
}

// capped keeps the first bytes that are written to it and drops the rest.
type capped struct {
	buf  *bytes.Buffer
	room int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.room)
	c.buf.Write(p[:n])
	c.room -= n
	return len(p), nil
}
