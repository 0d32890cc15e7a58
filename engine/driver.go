package engine

import (
	"cmp"
	"context"
	"strings"

	"assay/near"
	"assay/vm"
)

// driver returns the driver that scripts call name.
func (e Env) driver(name string) (vm.Driver, error) {
	known := map[string]vm.Driver{}
	var names []string
	for _, d := range e.Drivers {
		known[d.Name()] = d
		names = append(names, d.Name())
	}
	d, ok := known[name]
	if ok {
		return d, nil
	}
	if word := near.Name(name, names); word != "" {
		return nil, Scriptf("driver: %s: no such driver; did you mean %s?", name, word)
	}
	return nil, Scriptf("driver: %s: no such driver, want one of %s", name, strings.Join(names, ", "))
}

// images returns the images as one driver knows them.
func (e Env) images(ctx context.Context, d vm.Driver) Images {
	if of, ok := e.Images.(DriverImages); ok {
		return of.For(ctx, d)
	}
	return e.Images
}

// driver returns what a script's cells run on: what the user said, else the
// script, else what is the choice for all scripts that say nothing.
func (p *planner) driver(ctx context.Context, sh sheet) (vm.Driver, error) {
	name := cmp.Or(p.opt.Driver, sh.Driver, p.chosen)
	if name == "" {
		var err error
		if name, err = p.choose(ctx); err != nil {
			return nil, err
		}
		p.chosen = name
	}
	return p.env.driver(name)
}

func (p *planner) choose(ctx context.Context) (string, error) {
	switch {
	case p.env.Choose != nil:
		return p.env.Choose(ctx)
	case len(p.env.Drivers) > 0:
		return p.env.Drivers[0].Name(), nil
	}
	return "", nil
}
