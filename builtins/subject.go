package builtins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/grade"
)

type subjectArgs struct {
	Path string `star:"path" help:"a file or folder of the host: in the script's folder, or a parameter's"`
}

var subject = engine.Func("subject", "Subject",
	"Reads the software under test, as it lies on the host, so that rules can look at its source.\n"+
		"No link is followed; at most 2,000 files are read.",
	subjectArgs{},
	func(_ context.Context, s *engine.Session, a subjectArgs) (starlark.Value, error) {
		s.Describe(a.Path, "")
		host, err := s.HostPath(a.Path)
		if err != nil {
			return nil, fmt.Errorf("subject: %w", err)
		}
		read, err := readSubject(host)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, engine.Scriptf("subject: %s: no such file on the host", a.Path)
		}
		if err != nil {
			return nil, engine.Scriptf("subject: %s: %w", a.Path, err)
		}
		return grade.NewSubjectValue(read), nil
	})

// readSubject reads a folder, or a folder's one file.
func readSubject(host string) (*grade.Subject, error) {
	info, err := os.Stat(host)
	if err != nil {
		return nil, err
	}
	dir := host
	if !info.IsDir() {
		dir = filepath.Dir(host)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if info.IsDir() {
		return grade.ReadSubject(root.FS(), filepath.Base(host))
	}
	return grade.ReadSubject(oneFile{root.FS(), filepath.Base(host)}, filepath.Base(host))
}

// oneFile shows one file of a folder and hides the others.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir implements fs.ReadDirFS.
func (o oneFile) ReadDir(string) ([]fs.DirEntry, error) {
	info, err := fs.Stat(o.FS, o.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}
