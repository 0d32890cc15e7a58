package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Note says what a machine of a Place depends on, for whoever removes it.
type Note struct {
	ID     string `json:"id,omitempty"`     // what the hypervisor calls it, if that is not its name
	Parent string `json:"parent,omitempty"` // the machine on whose disks its own lie
	Base   string `json:"base,omitempty"`   // the kept disk on which they lie
	Socket string `json:"socket,omitempty"` // a folder of its sockets, outside of the Place
	Closed bool   `json:"closed,omitempty"` // gone, but for the disks that forks lie on
}

const (
	noteName     = "note.json"
	socketPrefix = "assay-"
	maxSocket    = 100 // bytes of a socket's path; 104 and an end on some systems
)

// Dir returns the folder of a machine. Machines are here, and not in their
// spec.Dir, because a fork lies on the disks of the machine that it came from,
// which may be closed before.
func (p *Place) Dir(name string) string { return filepath.Join(p.machines(), name) }

func (p *Place) machines() string { return filepath.Join(p.dir, "machines") }

// Add makes the folder of a new machine; a name that is taken is fs.ErrExist. A
// parent stays until its forks are removed; one that is gone is fs.ErrNotExist.
func (p *Place) Add(name string, n Note) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.Parent != "" {
		if parent, err := p.note(n.Parent); err != nil || parent.Closed {
			return errors.Join(fmt.Errorf("%s: %w", n.Parent, fs.ErrNotExist), err)
		}
	}
	if err := os.MkdirAll(p.machines(), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(p.Dir(name), 0o700); err != nil {
		return err
	}
	return p.write(name, n)
}

// Edit changes a machine's note.
func (p *Place) Edit(name string, edit func(*Note)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.note(name)
	if err != nil {
		return err
	}
	edit(&n)
	return p.write(name, n)
}

// Socket returns a path for a machine's socket: see SocketIn.
func (p *Place) Socket(name string) (string, error) {
	if pipePrefix != "" {
		return pipePrefix + name, nil
	}
	path, err := SocketIn(p.Dir(name))
	if dir := filepath.Dir(path); err == nil && dir != p.Dir(name) {
		err = p.Edit(name, func(n *Note) { n.Socket = dir })
	}
	return path, err
}

// SocketIn returns a path for a socket that is short enough for one: in the
// folder, or in another that nobody else may enter, which RemoveSocket removes.
// On Windows it is a pipe's, named after the folder.
func SocketIn(dir string) (string, error) {
	if pipePrefix != "" {
		return pipePrefix + socketPrefix + filepath.Base(dir), nil
	}
	if path := filepath.Join(dir, "line"); len(path) <= maxSocket {
		return path, nil
	}
	dir, err := os.MkdirTemp("", socketPrefix)
	return filepath.Join(dir, "line"), err
}

// RemoveSocket removes a socket, and the folder that SocketIn made for it.
func RemoveSocket(path string) error {
	if pipePrefix != "" || path == "" {
		return nil
	}
	if dir := filepath.Dir(path); isSocketDir(dir) {
		return os.RemoveAll(dir)
	}
	return os.RemoveAll(path)
}

// Remove removes a machine that does not run any more: by destroy, which tells
// the hypervisor, and then its folder. While forks lie on its disks it is only
// marked as closed; the last of them takes it along. A name that neither the
// place nor destroy knows is fs.ErrNotExist.
func (p *Place) Remove(ctx context.Context, name string, destroy func(context.Context, string, Note) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(ctx, name, destroy)
}

func (p *Place) remove(ctx context.Context, name string, destroy func(context.Context, string, Note) error) error {
	n, err := p.note(name)
	known := err == nil
	if known {
		if forks, err := p.forks(name); err != nil || forks {
			return errors.Join(err, p.close(name, n))
		}
	}
	err = destroy(ctx, name, n)
	if err != nil && !(known && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	if err := os.RemoveAll(p.Dir(name)); err != nil {
		return err
	}
	if isSocketDir(n.Socket) {
		if err := os.RemoveAll(n.Socket); err != nil {
			return err
		}
	}
	return p.release(ctx, n.Parent, destroy)
}

// release removes a machine that was closed before, if nothing lies on it now.
func (p *Place) release(ctx context.Context, name string, destroy func(context.Context, string, Note) error) error {
	if name == "" {
		return nil
	}
	n, err := p.note(name)
	if err != nil || !n.Closed {
		return nil // it is used, or somebody took it away
	}
	if forks, err := p.forks(name); err != nil || forks {
		return err
	}
	return p.remove(ctx, name, destroy)
}

// close notes that a machine is gone, but for its disks.
func (p *Place) close(name string, n Note) error {
	if n.Closed {
		return fmt.Errorf("%s: closed before: %w", name, fs.ErrNotExist)
	}
	n.Closed = true
	return p.write(name, n)
}

// forks reports whether a machine's disks are needed.
func (p *Place) forks(name string) (bool, error) {
	notes, err := p.notes()
	for _, n := range notes {
		if n.Parent == name {
			return true, err
		}
	}
	return false, err
}

// Names lists the machines, those that are closed included.
func (p *Place) Names() ([]string, error) {
	entries, err := os.ReadDir(p.machines())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Union returns the names of a hypervisor's list and of the place, each once.
func (p *Place) Union(listed []string) ([]string, error) {
	names, err := p.Names()
	names = append(names, listed...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// isSocketDir guards the removal of a folder that only a file names.
func isSocketDir(path string) bool {
	return path != "" && filepath.Dir(path) == filepath.Clean(os.TempDir()) && strings.HasPrefix(filepath.Base(path), socketPrefix)
}

func (p *Place) notes() (map[string]Note, error) {
	names, err := p.Names()
	notes := map[string]Note{}
	for _, name := range names {
		n, problem := p.note(name)
		if problem != nil && !errors.Is(problem, fs.ErrNotExist) {
			err = errors.Join(err, problem)
		}
		notes[name] = n
	}
	return notes, err
}

// Note returns what is noted of a machine.
func (p *Place) Note(name string) (Note, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.note(name)
}

func (p *Place) note(name string) (n Note, err error) {
	data, err := os.ReadFile(filepath.Join(p.Dir(name), noteName))
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("%s: %w", filepath.Join(p.Dir(name), noteName), err)
	}
	return n, nil
}

func (p *Place) write(name string, n Note) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	path := filepath.Join(p.Dir(name), noteName)
	if err := os.WriteFile(path+partMark, data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+partMark, path)
}
