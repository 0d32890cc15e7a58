package main

import (
	"errors"
	"strings"

	"assay/images"
	"assay/vm"
)

// An imageSource is the engine's images: those of the store, and for a driver
// whose machines boot from nothing, those that it makes up.
type imageSource struct {
	store  *images.Store
	driver vm.Driver // the user's choice; nil if unknown
}

// diskless is a driver whose machines need no disk: it has an image of any name.
type diskless interface {
	Image(name string) vm.Image
}

// Resolve implements engine.Images.
func (s imageSource) Resolve(name string) (vm.Image, error) {
	if d, ok := s.driver.(diskless); ok {
		return d.Image(name), nil
	}
	return s.store.Resolve(name)
}

// Match implements engine.Images.
func (s imageSource) Match(globs []string) ([]string, error) {
	if _, ok := s.driver.(diskless); !ok {
		return s.store.Match(globs)
	}
	var names []string
	for _, g := range globs {
		matched, err := s.store.Match([]string{g})
		if unknown := (*images.NotFoundError)(nil); errors.As(err, &unknown) && !strings.ContainsAny(g, "*?[{") {
			matched, err = []string{g}, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, matched...)
	}
	return names, nil
}
