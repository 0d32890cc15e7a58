package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"assay/near"
	"assay/vm"
)

// driverVariable names the driver that the user prefers; the file config.toml
// does so too, and a flag or a script goes before both.
const driverVariable = "ASSAY_DRIVER"

// choose names the driver for those who name none: the user's preference, else
// the first that can be used on this host.
func (a *app) choose(ctx context.Context) (string, error) {
	name, where, err := a.preferred()
	if err != nil {
		return "", err
	}
	if name != "" {
		if find(a.drivers(), name) == nil {
			return "", unknownDriver(where, name, driverNames(a.drivers()))
		}
		return name, nil
	}
	return a.firstUsable(ctx)
}

// preferred returns the driver that the user settled on, and where.
func (a *app) preferred() (name, where string, err error) {
	if name := os.Getenv(driverVariable); name != "" {
		return name, driverVariable, nil
	}
	conf, err := a.config()
	return conf.values["driver"].text, conf.path, err
}

func unknownDriver(where, got string, names []string) error {
	if word := near.Name(got, names); word != "" {
		return usagef("", "%s: got driver %q; did you mean %s?", where, got, word)
	}
	return usagef("", "%s: got driver %q, want one of %s", where, got, strings.Join(names, ", "))
}

// probeTime is how long a hypervisor may take to say what it is.
const probeTime = time.Minute

// probe asks a driver whether it can be used.
func probe(ctx context.Context, d vm.Driver) (vm.Info, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("no answer in %s", probeTime))
	defer cancel()
	return d.Probe(ctx)
}

// firstUsable asks the drivers of hypervisors in the order of preference.
func (a *app) firstUsable(ctx context.Context) (string, error) {
	var reasons []string
	for _, d := range a.drivers() {
		if isMadeUp(d) || !belongsHere(d) {
			continue
		}
		_, err := probe(ctx, d)
		if err == nil {
			if len(reasons) > 0 {
				a.note("assay: running on %s: %s", d.Name(), strings.Join(reasons, "; "))
			}
			return d.Name(), nil
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		reasons = append(reasons, reasonOf(d, err))
	}
	return "", fmt.Errorf("driver: no hypervisor can be used here: %s; \"assay doctor\" says what to do", strings.Join(reasons, "; "))
}

// reasonOf says in few words why a driver cannot be used.
func reasonOf(d vm.Driver, err error) string {
	if u := (*vm.UnavailableError)(nil); errors.As(err, &u) {
		return d.Name() + ": " + u.Reason
	}
	return d.Name() + ": " + err.Error()
}

// isMadeUp reports whether a driver's machines are none: they are for trying
// scripts, and only who asks for them gets them.
func isMadeUp(d vm.Driver) bool {
	_, ok := d.(diskless)
	return ok
}

// card returns what is known of a driver on any host.
func card(d vm.Driver) vm.Card {
	c := vm.Card{Title: d.Name()}
	if carder, ok := d.(vm.Carder); ok {
		c = carder.Card()
		c.Title = cmp.Or(c.Title, d.Name())
	}
	return c
}

// belongsHere reports whether a driver's hypervisor runs on this host's system.
func belongsHere(d vm.Driver) bool {
	systems := card(d).Systems
	return len(systems) == 0 || slices.Contains(systems, runtime.GOOS)
}

// A driverFlag is the value of --driver: one that a script left empty by mistake
// is no choice.
type driverFlag string

func (f *driverFlag) String() string { return string(*f) }
func (f *driverFlag) Type() string   { return "string" }

func (f *driverFlag) Set(name string) error {
	if name == "" {
		return errors.New(`got "", want the name of a driver, or no --driver`)
	}
	*f = driverFlag(name)
	return nil
}
