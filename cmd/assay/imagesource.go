package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"assay/engine"
	"assay/images"
	"assay/vm"
)

// An imageSource is the engine's images, as one driver knows them: those of the
// store; beside them, for a hypervisor that fetches images, those that it knows
// by names of its own; and for machines that boot from nothing, any name at all.
type imageSource struct {
	ctx    context.Context // of the questions to the hypervisor
	store  *images.Store
	driver vm.Driver // nil: only the store's
}

// diskless is a driver whose machines need no disk: it has an image of any name.
type diskless interface {
	Image(name string) vm.Image
}

// For implements engine.DriverImages.
func (s imageSource) For(ctx context.Context, d vm.Driver) engine.Images {
	return imageSource{ctx, s.store, d}
}

// Resolve implements engine.Images.
func (s imageSource) Resolve(name string) (vm.Image, error) {
	if d, ok := s.driver.(diskless); ok {
		return d.Image(name), nil
	}
	if _, err := s.store.Match([]string{name}); isForeign(err) {
		return s.fetched(name, err)
	}
	return s.store.Resolve(name)
}

// isForeign reports whether an error of the store's means that a name is none of
// its own: neither there nor one that it could build.
func isForeign(err error) bool {
	var unknown *images.NotFoundError
	return errors.As(err, &unknown) && unknown.Next == ""
}

// fetched returns an image that the hypervisor fetches; unknown is what to say if
// it has none of that name.
func (s imageSource) fetched(name string, unknown error) (vm.Image, error) {
	c, ok := s.driver.(vm.Catalog)
	if !ok {
		return vm.Image{}, unknown
	}
	img, err := c.Image(s.ctx, name)
	if err != nil {
		return img, fmt.Errorf("%w; nor is it one of %s's: %w", unknown, s.driver.Name(), err)
	}
	return img, nil
}

// Match implements engine.Images. Names that only the hypervisor knows have no
// globs: nobody lists them.
func (s imageSource) Match(globs []string) ([]string, error) {
	var names []string
	for _, g := range globs {
		matched, err := s.store.Match([]string{g})
		if isForeign(err) && !strings.ContainsAny(g, "*?[{") {
			matched, err = s.foreign(g, err)
		}
		if err != nil {
			return nil, err
		}
		names = append(names, matched...)
	}
	return names, nil
}

// foreign checks a name that the store does not know.
func (s imageSource) foreign(name string, unknown error) ([]string, error) {
	if isMadeUp(s.driver) {
		return []string{name}, nil
	}
	_, err := s.fetched(name, unknown)
	return []string{name}, err
}
