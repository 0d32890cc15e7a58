package cli

import (
	"errors"
	"fmt"
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

// forget removes what was not used for longest and lies below no machine, and
// what a dead process left unfinished.
func (p *Place) forget() error {
	entries, err := os.ReadDir(p.keepDir())
	if err != nil {
		return err
	}
	used := map[string]bool{}
	notes, err := p.notes()
	if err != nil {
		return err
	}
	for _, n := range notes {
		used[filepath.Base(n.Base)] = true
	}
	ages := map[string]time.Time{}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || used[e.Name()] {
			continue
		}
		if strings.Contains(e.Name(), partMark) && time.Since(info.ModTime()) < time.Hour {
			continue // somebody may be at it
		}
		names, ages[e.Name()] = append(names, e.Name()), info.ModTime()
	}
	slices.SortFunc(names, func(a, b string) int { return ages[b].Compare(ages[a]) })
	for i, name := range names {
		if i >= kept-1 || strings.Contains(name, partMark) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(p.keepDir(), name)))
		}
	}
	return err
}
