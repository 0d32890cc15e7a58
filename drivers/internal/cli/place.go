package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"assay/vm"
)

// A Place is the folder in which a driver keeps its files: what it makes once and
// uses again, and its machines (see Add). Its methods are safe for concurrent use.
type Place struct {
	dir string

	mu     sync.Mutex             // of the machines' notes
	making map[string]*sync.Mutex // of what is made once, by path
}

// Place returns the driver's folder, Home/drivers/DRIVER.
func (c Config) Place(driver string) *Place {
	return &Place{dir: filepath.Join(c.Home, "drivers", driver), making: map[string]*sync.Mutex{}}
}

// kept is how many things that can be made again a driver keeps, unless more are
// in use.
const kept = 8

// partMark is in the name of what is not finished.
const partMark = ".part-"

// DiskKey names what is made of an image's disk, grown to size. The kind is a
// word of the driver's, such as "vdi".
func DiskKey(img vm.Image, size int64, kind string) (string, error) {
	_, digest, _ := strings.Cut(img.Digest, ":")
	if digest == "" || strings.ContainsAny(digest, `/\.:`) {
		return "", fmt.Errorf("image %s: got the digest %q, want sha256:…", img.Name, img.Digest)
	}
	return fmt.Sprintf("%.40s-%d.%s", digest, MiB(max(size, img.Size)), kind), nil
}

// Keep returns the file or folder that is called key, and calls make for it if it
// is not there yet. make gets a path beside it, and leaves there what shall get
// the name; what it leaves when it fails is removed.
func (p *Place) Keep(key string, make func(path string) error) (string, error) {
	path := filepath.Join(p.keepDir(), key)
	lock := p.lock(path)
	lock.Lock()
	defer lock.Unlock()
	if _, err := os.Stat(path); err == nil {
		now := time.Now()
		return path, os.Chtimes(path, now, now)
	}
	if err := os.MkdirAll(p.keepDir(), 0o700); err != nil {
		return "", err
	}
	if err := p.forget(); err != nil {
		return "", err
	}
	part := fmt.Sprintf("%s%s%d", path, partMark, os.Getpid())
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := make(part); err != nil {
		return "", errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Rename(part, path); err != nil {
		err = errors.Join(err, os.RemoveAll(part))
		if _, missing := os.Stat(path); missing != nil {
			return "", err
		}
	}
	return path, nil // or another process was first
}

func (p *Place) keepDir() string { return filepath.Join(p.dir, "kept") }

func (p *Place) lock(path string) *sync.Mutex {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making[path] == nil {
		p.making[path] = &sync.Mutex{}
	}
	return p.making[path]
}

// unusedFor is how long what nobody uses stays, if there is room.
const unusedFor = 7 * 24 * time.Hour

// Trim removes what is kept, lies below no machine and was not used for a week,
// and returns the bytes freed. before is told what goes.
func (p *Place) Trim(before func(path string)) (freed int64, err error) {
	idle, err := p.idle()
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // nothing was ever kept
	}
	for _, k := range idle {
		if time.Since(k.used) < unusedFor {
			continue
		}
		n, problem := Occupied(k.path)
		before(k.path)
		if problem = errors.Join(problem, os.RemoveAll(k.path)); problem == nil {
			freed += n
		}
		err = errors.Join(err, problem)
	}
	return freed, err
}

// forget makes room for one more: it removes what was not used for longest, and
// what a dead process left unfinished.
func (p *Place) forget() error {
	idle, err := p.idle()
	for i, k := range idle {
		if i >= kept-1 || strings.Contains(k.path, partMark) {
			err = errors.Join(err, os.RemoveAll(k.path))
		}
	}
	return err
}

// An idleThing is something that is kept, and on which no machine lies.
type idleThing struct {
	path string
	used time.Time
}

// idle lists what is kept and not in use, most recently used first. What somebody
// may still be making is not there.
func (p *Place) idle() ([]idleThing, error) {
	entries, err := os.ReadDir(p.keepDir())
	if err != nil {
		return nil, err
	}
	notes, err := p.notes()
	if err != nil {
		return nil, err
	}
	below := map[string]bool{}
	for _, n := range notes {
		below[filepath.Base(n.Base)] = true
	}
	var all []idleThing
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || below[e.Name()] || strings.Contains(e.Name(), partMark) && time.Since(info.ModTime()) < time.Hour {
			continue
		}
		all = append(all, idleThing{filepath.Join(p.keepDir(), e.Name()), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b idleThing) int { return b.used.Compare(a.used) })
	return all, nil
}
