package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// recordings is the folder of a fixture in which programs' recorded output lies.
// A file is named after the program and its arguments up to the first that begins
// with "--", joined by spaces, slashes as "%": "systemctl list-units".
const recordings = "/.run"

// Dir returns an unpacked guest as a source. It is not alive: Run answers from
// the files of root/.run, and is errors.ErrUnsupported for all else. Links are
// followed inside root only, absolute ones included.
func Dir(root string) Source { return dir{root} }

type dir struct{ root string }

// maxLinks is how many links one path may go through.
const maxLinks = 40

// in runs fn with root open: no path can leave it.
func (d dir) in(fn func(*os.Root) error) error {
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return err
	}
	defer root.Close()
	return fn(root)
}

// within makes a guest's path relative to the root.
func within(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p == "" {
		return "."
	}
	return p
}

// resolve follows the links in p as the guest would, and returns where they lead.
func resolve(root *os.Root, p string, last bool) (string, error) {
	done, rest := "/", within(p)
	for hops := 0; rest != "" && rest != "."; {
		name, tail, _ := strings.Cut(rest, "/")
		at := path.Join(done, name)
		info, err := root.Lstat(within(at))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 || tail == "" && !last {
			done, rest = at, tail
			continue
		}
		if hops++; hops > maxLinks {
			return "", &fs.PathError{Op: "open", Path: p, Err: syscall.ELOOP}
		}
		target, err := root.Readlink(within(at))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = path.Join(target, tail)
		if !path.IsAbs(target) {
			rest = path.Join(done, target, tail)
			done = "/"
		}
		rest = within(rest)
	}
	return within(done), nil
}

func (d dir) Lstat(p string) (st Stat, err error) {
	err = d.in(func(root *os.Root) error {
		at, err := resolve(root, p, false)
		if err != nil {
			return err
		}
		info, err := root.Lstat(at)
		if err == nil {
			st = statInfo(info)
		}
		return err
	})
	return st, err
}

func (d dir) Readlink(p string) (target string, err error) {
	err = d.in(func(root *os.Root) error {
		at, err := resolve(root, p, false)
		if err == nil {
			target, err = root.Readlink(at)
		}
		return err
	})
	return target, err
}

func (d dir) ReadDir(p string) (found []fs.DirEntry, err error) {
	err = d.in(func(root *os.Root) error {
		at, err := resolve(root, p, true)
		if err != nil {
			return err
		}
		found, err = fs.ReadDir(root.FS(), at)
		return err
	})
	if path.Clean("/"+p) == "/" {
		found = slices.DeleteFunc(found, func(e fs.DirEntry) bool { return "/"+e.Name() == recordings })
	}
	return found, err
}

// list describes a folder's entries. A walk meets no folder behind a link, so
// this follows none.
func (d dir) list(p string) (entries []entry, err error) {
	err = d.in(func(root *os.Root) error {
		f, err := root.Open(within(p))
		if err != nil {
			return err
		}
		defer f.Close()
		found, err := f.ReadDir(-1)
		for _, e := range found {
			at := path.Join(p, e.Name())
			info, ierr := e.Info()
			if ierr != nil || at == recordings {
				continue
			}
			en := entry{path: at, stat: statInfo(info)}
			if info.Mode()&fs.ModeSymlink != 0 {
				en.target, _ = root.Readlink(within(at))
			}
			entries = append(entries, en)
		}
		return err
	})
	return entries, err
}

func (d dir) ReadFile(p string, limit int64) (data []byte, err error) {
	f, err := d.openAt(p, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, p, limit)
}

func (d dir) open(p string) (io.ReadCloser, error) { return d.openAt(p, false) }

// openAt opens a regular file, and nothing else.
func (d dir) openAt(p string, follow bool) (f *os.File, err error) {
	err = d.in(func(root *os.Root) error {
		at, err := resolve(root, p, follow)
		if err != nil {
			return err
		}
		info, err := root.Lstat(at)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return &fs.PathError{Op: "open", Path: p, Err: errors.New("not a regular file")}
		}
		f, err = root.OpenFile(at, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	})
	return f, err
}

func (d dir) Xattrs(p string) (map[string][]byte, error) {
	var at string
	err := d.in(func(root *os.Root) (err error) {
		at, err = resolve(root, p, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return lxattrs(filepath.Join(d.root, filepath.FromSlash(at)))
}

func (d dir) Run(ctx context.Context, argv ...string) ([]byte, error) {
	if i := slices.IndexFunc(argv, func(a string) bool { return strings.HasPrefix(a, "--") }); i > 0 {
		argv = argv[:i]
	}
	name := strings.ReplaceAll(strings.Join(argv, " "), "/", "%")
	data, err := d.ReadFile(path.Join(recordings, name), maxRecording)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: a folder runs no program: %w", argv[0], errors.ErrUnsupported)
	}
	return data, err
}

// maxRecording is how much a recorded program may have printed.
const maxRecording = 16 << 20

// readBounded reads all of r, at most limit bytes.
func readBounded(r io.Reader, p string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: p, Err: fmt.Errorf("longer than %d bytes", limit)}
	}
	return data, err
}
