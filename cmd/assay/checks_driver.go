package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"assay/vm"
)

// driverChecks asks every driver of a hypervisor, all at the same time. Without
// any that can be used, the preferred one is what this host lacks.
func (a *app) driverChecks(ctx context.Context) []check {
	var drivers []vm.Driver
	for _, d := range a.drivers() {
		if !isMadeUp(d) {
			drivers = append(drivers, d)
		}
	}
	checks := make([]check, len(drivers))
	var wg sync.WaitGroup
	for i, d := range drivers {
		wg.Go(func() { checks[i] = driverCheck(ctx, d) })
	}
	wg.Wait()
	if !slices.ContainsFunc(checks, func(c check) bool { return c.Driver.Usable }) {
		if i := slices.IndexFunc(checks, func(c check) bool { return c.Driver.Here }); i >= 0 {
			checks[i].State = bad
		}
	}
	return checks
}

// driverCheck probes a driver. One that is not installed is not missed: there are
// others.
func driverCheck(ctx context.Context, d vm.Driver) check {
	_, fetches := d.(vm.Catalog)
	_, adopts := d.(vm.Adopter)
	r := &driverReport{Name: d.Name(), Here: belongsHere(d), Fetches: fetches, Adopts: adopts, Card: card(d)}
	c := check{Name: d.Name(), Driver: r}
	if !r.Here {
		c.unusable(vm.Elsewhere(d.Name(), r.Card.Systems))
		return c
	}
	info, err := probe(ctx, d)
	if err != nil {
		c.unusable(err)
		return c
	}
	c.State, r.Usable, r.Info = good, true, &info
	c.Found = answer(info) + "; " + proved(r.Card, info.Version)
	return c
}

// answer says what a driver found.
func answer(info vm.Info) string {
	text := info.Version
	if info.Accel != "" {
		text += ", " + info.Accel
	}
	if info.Detail != "" {
		text += ": " + info.Detail
	}
	return text
}

// proved says whether the driver has met what it drives.
func proved(card vm.Card, version string) string {
	switch {
	case len(card.Met) == 0:
		return "the driver has never met the real one: stand-ins and transcripts only"
	case slices.Contains(card.Met, version):
		return "proved on this version"
	}
	return "proved on " + strings.Join(card.Met, ", ") + ", not on this version"
}

// unusable puts the reason and the fix into the check.
func (c *check) unusable(err error) {
	c.State, c.Found = warn, err.Error()
	var u *vm.UnavailableError
	if !errors.As(err, &u) {
		return
	}
	c.Found, c.Fix = u.Reason, u.Fix
	if u.Absent {
		c.State = off
	}
	if packages, ok := strings.CutPrefix(u.Fix, "apt-get install "); ok {
		c.Packages, c.Why = nonFlags(packages), "running machines"
	}
}
