package main

import (
	"context"
	"errors"
	"fmt"

	"assay"
	"assay/vm"
)

// ready asks the drivers that cells run on whether they can be used here, before
// anything is fetched, built or made for them.
func ready(ctx context.Context, drivers []vm.Driver, cells []assay.Cell) error {
	asked := map[string]bool{}
	for _, c := range cells {
		d := find(drivers, c.Driver)
		if d == nil || asked[c.Driver] {
			continue
		}
		asked[c.Driver] = true
		if err := usable(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// usable returns why a driver cannot be used here, as "assay doctor" says it.
func usable(ctx context.Context, d vm.Driver) error {
	_, err := probe(ctx, d)
	if unavailable := (*vm.UnavailableError)(nil); err == nil || errors.As(err, &unavailable) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%s: %w", d.Name(), err)
}

// usableDriver is driver, for commands that make a machine at once.
func (a *app) usableDriver(ctx context.Context, name string) (vm.Driver, error) {
	d, err := a.driver(ctx, name)
	if err != nil {
		return nil, err
	}
	return d, usable(ctx, d)
}

// bootsKernel refuses a driver that cannot boot what assay builds, before it is built.
func bootsKernel(d vm.Driver, image string) error {
	if isMadeUp(d) || card(d).Builds != "" {
		return nil
	}
	hint := fmt.Sprintf("\"assay image import FILE --name NAME\" takes a cloud image of that system, which --image NAME then names; drivers that boot %s are in docs/drivers.md", image)
	if _, fetches := d.(vm.Catalog); fetches {
		hint = fmt.Sprintf("--image takes the names that %s has for its own; ", d.Name()) + hint
	}
	return usagef(hint, "%s cannot boot %s: the images that assay builds have no boot loader", d.Name(), image)
}
