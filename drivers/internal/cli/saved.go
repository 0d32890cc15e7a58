package cli

import (
	"fmt"
	"io/fs"
	"slices"
	"sync"
)

// Saved are the snapshots of one machine in a hypervisor that does not keep their
// names apart: ids, by the names that the script gave. The zero value is none. It
// is safe for concurrent use.
type Saved struct {
	mu    sync.Mutex
	ids   map[string]string
	order []string
}

// Free returns an error that matches fs.ErrExist if a name is taken.
func (s *Saved) Free(name string) error {
	if _, err := s.ID(name); err == nil {
		return fmt.Errorf("%q: %w", name, fs.ErrExist)
	}
	return nil
}

// Add notes a new snapshot.
func (s *Saved) Add(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[string]string{}
	}
	s.ids[name] = id
	s.order = append(s.order, id)
}

// ID returns what the hypervisor calls a snapshot. An unknown name is
// fs.ErrNotExist.
func (s *Saved) ID(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.ids[name]; ok {
		return id, nil
	}
	return "", fmt.Errorf("%q: %w", name, fs.ErrNotExist)
}

// IDs lists the snapshots, newest first: the order in which they can be deleted.
func (s *Saved) IDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := slices.Clone(s.order)
	slices.Reverse(ids)
	return ids
}
