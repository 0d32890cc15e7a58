package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// A Listed is a virtual machine as a hypervisor's list shows it.
type Listed struct{ ID, Name, State string }

// Pick returns the one machine of that name or id. None is fs.ErrNotExist; several
// of one name are an error.
func Pick(list []Listed, hypervisor, name string) (Listed, error) {
	var found []Listed
	for _, l := range list {
		if l.Name == name || strings.EqualFold(l.ID, name) {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return Listed{}, fmt.Errorf("no virtual machine %q in %s: %w", name, hypervisor, fs.ErrNotExist)
	case 1:
		return found[0], nil
	}
	return Listed{}, fmt.Errorf("got %d virtual machines called %q in %s, want one; name it by its id, such as %s", len(found), name, hypervisor, found[0].ID)
}

// Absent reports whether there is nothing to take away: no such machine, or no
// hypervisor.
func Absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotInstalled)
}

// Leftovers names what may have been left behind: what a hypervisor has listed,
// and what is in the place. Where there is no hypervisor it is only the latter.
func (p *Place) Leftovers(list []Listed, err error) ([]string, error) {
	if err != nil && !errors.Is(err, ErrNotInstalled) {
		return nil, err
	}
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	return p.Union(names)
}
