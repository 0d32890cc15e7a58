package engine

import (
	"crypto/sha256"
	"encoding/hex"
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

	"go.starlark.net/starlark"
)

// stdlibPrefix begins the names of the modules that come with assay.
const stdlibPrefix = "@stdlib//"

// The bounds of what one script may load.
const (
	maxModule  = 1 << 20 // bytes of a file
	maxModules = 200
)

// A loader reads a script's files: the script itself, what lies in its folder,
// and the standard library. Nothing else can be reached through it.
type loader struct {
	root   *os.Root
	base   string // what positions put before the names of the folder's files
	stdlib fs.FS
	cache  map[string]*module
	path   []string // modules being loaded, outermost first
	hash   []string // digests of all that was read
}

type module struct {
	globals starlark.StringDict
	err     error
}

// newLoader returns a loader for the script at file; name is what positions
// call the script. The caller closes it.
func newLoader(file, name string, stdlib fs.FS) (*loader, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, Scriptf("script: %w", err)
	}
	base, _ := path.Split(name)
	return &loader{root: root, base: base, stdlib: stdlib, cache: map[string]*module{}, path: []string{"//" + filepath.Base(file)}}, nil
}

func (l *loader) close() { l.root.Close() }

// load returns the globals of a module. from is the file that loads it.
func (l *loader) load(p *program, from, name string) (starlark.StringDict, error) {
	key, err := l.resolve(from, name)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(l.path, key); i >= 0 {
		return nil, Scriptf("cycle: %s", strings.Join(slices.Concat(l.path[i:], []string{key}), " loads "))
	}
	if m := l.cache[key]; m != nil {
		return m.globals, m.err
	}
	if len(l.cache) == maxModules {
		return nil, Scriptf("got more than %d modules, want fewer", maxModules)
	}
	m := &module{}
	l.cache[key] = m
	l.path = append(l.path, key)
	defer func() { l.path = l.path[:len(l.path)-1] }()
	src, err := l.read(key)
	if err != nil {
		m.err = err
		return nil, err
	}
	m.globals, m.err = p.exec(l.display(key), src)
	return m.globals, m.err
}

// resolve turns a module's name, as written in the file from, into its key:
// "@stdlib//x.star" or "//x.star".
func (l *loader) resolve(from, name string) (string, error) {
	if !strings.HasSuffix(name, ".star") {
		return "", Scriptf("got module %q, want a name that ends in .star", name)
	}
	if rest, ok := strings.CutPrefix(name, stdlibPrefix); ok {
		return stdlibPrefix + path.Clean(rest), nil
	}
	if rest, ok := strings.CutPrefix(name, "//"); ok {
		return "//" + path.Clean(rest), nil
	}
	prefix, dir := "//", path.Dir(strings.TrimPrefix(from, l.base))
	if rest, ok := strings.CutPrefix(from, stdlibPrefix); ok {
		prefix, dir = stdlibPrefix, path.Dir(rest)
	}
	return prefix + path.Join(dir, name), nil
}

// display is how positions call the module.
func (l *loader) display(key string) string {
	if rest, ok := strings.CutPrefix(key, "//"); ok {
		return l.base + rest
	}
	return key
}

func (l *loader) read(key string) ([]byte, error) {
	rest, isStd := strings.CutPrefix(key, stdlibPrefix)
	rest = strings.TrimPrefix(rest, "//")
	// A pipe would keep the opening waiting for a writer.
	open := func() (fs.File, error) { return l.root.OpenFile(rest, os.O_RDONLY|syscall.O_NONBLOCK, 0) }
	if isStd {
		open = func() (fs.File, error) { return l.stdlib.Open(rest) }
	}
	src, err := readBounded(open)
	switch {
	case isStd && errors.Is(err, fs.ErrNotExist):
		return nil, Scriptf("%s: no such module in the standard library", key)
	case errors.Is(err, fs.ErrNotExist):
		return nil, Scriptf("%s: no such file beside the script", key)
	case err != nil:
		return nil, Scriptf("%s: %w", key, err)
	}
	sum := sha256.Sum256(src)
	l.hash = append(l.hash, key+" "+hex.EncodeToString(sum[:]))
	return src, nil
}

func readBounded(open func() (fs.File, error)) ([]byte, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("got no regular file, want one"))
	}
	src, err := io.ReadAll(io.LimitReader(f, maxModule+1))
	if err == nil && len(src) > maxModule {
		err = fmt.Errorf("got more than %d bytes, want a smaller file", maxModule)
	}
	return src, err
}

// digest is over the script and all that it loaded so far, whatever the order.
func (l *loader) digest() string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(l.hash)), "\n")))
	return hex.EncodeToString(sum[:])
}
