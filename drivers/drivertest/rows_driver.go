package drivertest

import (
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"

	"assay/guest"
	"assay/vm"
)

// card proves that what the documentation says of the driver is so, and that it
// says what to do about everything that the driver cannot.
func card(e *env) {
	carder, ok := e.cfg.Driver.(vm.Carder)
	if !ok {
		e.Fatalf("the driver has no Card(); every driver is a vm.Carder")
	}
	c := carder.Card()
	if c.Title == "" || c.Tool == "" || len(c.Systems) == 0 {
		e.Errorf("got the card %+v, want a title, a tool and systems", c)
	}
	if !slices.Contains([]vm.Isolation{vm.IsolationHost, vm.IsolationGuest, vm.IsolationNone}, c.Isolation) {
		e.Errorf("isolation: got %q, want host, guest or none", c.Isolation)
	}
	if e.cfg.Image.Kernel != "" && c.Builds == "" {
		e.Errorf("machines start from %s, which has no boot loader; say so in Builds of the driver's card", e.cfg.Image.Name)
	}
	for _, capability := range vm.All() {
		has := slices.Contains(c.Capabilities, capability)
		if !has && slices.Contains(e.info.Capabilities, capability) {
			e.Errorf("machines claim %q, which the card lacks", capability)
		}
		if !has && c.Instead[capability] == "" {
			e.Errorf("the card lacks %q and does not say what to do instead", capability)
		}
	}
	met := func(version string) bool { return series(version) == series(e.info.Version) }
	if e.cfg.Ring == Real && !slices.ContainsFunc(c.Met, met) {
		e.Errorf("the suite runs on %q; add that to Met of the driver's card, which has %q", e.info.Version, c.Met)
	}
}

// adopt proves that a user's machine can be used, survives that, and can be used
// again; and that a dead run's Sweep does not destroy it.
func adopt(e *env) {
	a := e.cfg.Driver.(vm.Adopter)
	if e.cfg.Existing == nil {
		e.Fatalf("the driver is a vm.Adopter; the suite's Config.Existing must make a machine for it")
	}
	name, check := e.cfg.Existing(e)
	first := e.adopt(a, name, "first")
	e.worksIn(first)
	e.must(first.Close())
	if err := first.Close(); err != nil {
		e.Errorf("second Close: got %v, want nil", err)
	}
	if conn, err := first.Dial(e.ctx); err == nil {
		conn.Close()
		e.Errorf("an adopted machine that was closed can be dialled")
	}
	e.gone(filepath.Join(e.cfg.RunDir, e.owner, "first"))
	check()

	second := e.adopt(a, name, "second")
	if n, err := e.cfg.Driver.Sweep(e.ctx, e.owner); n != 0 || err != nil {
		e.Errorf("Sweep of an adopted machine's owner: got %d, %v; want 0: it is not ours to destroy", n, err)
	}
	e.worksIn(second)
	e.must(second.Close())
	check()
}

// adopt takes the user's machine.
func (e *env) adopt(a vm.Adopter, name, as string) vm.Machine {
	e.Helper()
	m, err := a.Adopt(e.ctx, name, e.spec(as))
	e.must(err)
	e.closes(m)
	return m
}

// worksIn proves that commands run in a machine, as the test user and as root.
func (e *env) worksIn(m vm.Machine) {
	e.Helper()
	c := e.dial(m)
	e.sh(c, "echo hello >~/assay-was-here && rm ~/assay-was-here")
	exit, err := c.Exec(e.ctx, guest.Command{Shell: `test "$(id -u)" = 0`, User: "root"}, nil, nil, nil)
	if err != nil || exit.Code != 0 {
		e.Errorf("as root: got %+v, %v, want exit code 0", exit, err)
	}
	c.Close()
}

func adoptUnknown(e *env) {
	spec := e.spec("unknown")
	m, err := e.cfg.Driver.(vm.Adopter).Adopt(e.ctx, "assay-no-such-machine", spec)
	if err == nil {
		e.must(m.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("got %v, want fs.ErrNotExist", err)
	}
	e.gone(spec.Dir)
}

var patchLevel = regexp.MustCompile(`(\d+\.\d+)[.\d]*`)

// series is a version without what a distribution's update changes: a driver
// that met QEMU 7.2.22 has met 7.2.23.
func series(version string) string { return patchLevel.ReplaceAllString(version, "$1") }
