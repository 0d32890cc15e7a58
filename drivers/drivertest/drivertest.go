// Package drivertest is the one suite that every driver must pass.
//
// It knows the contract of package vm and the line of package guest. It knows no
// hypervisor: where drivers may differ, it asks the machine.
package drivertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/guest"
	"assay/vm"
)

// Config says what to test. Its fields are the only ways in which a driver may
// differ from the others.
type Config struct {
	Driver vm.Driver
	Image  vm.Image // a Debian, or something that looks like one

	// RunDir is the folder below which the driver's Sweep looks for machines; the
	// suite puts each machine into RunDir/OWNER/NAME. Empty: a temporary folder.
	RunDir string

	CPUs    int           // of each machine; default 1
	Memory  int64         // of each machine, bytes; default 512 MiB
	Timeout time.Duration // of each row; default 5 minutes

	// Cold makes every launch boot, for a driver that clones templates otherwise.
	Cold bool

	// Ring says how much a pass proves. Empty: Real.
	Ring Ring

	// Existing makes a machine that a user could have made with the hypervisor's
	// own command, and returns its name there. check fails t unless the machine is
	// still as it was made, on or off, and nothing of assay's is in it; it is called
	// when the machine was adopted and closed again. A vm.Adopter needs it. The
	// machine goes with t.
	Existing func(t testing.TB) (name string, check func())
}

// Ring says what a suite ran against.
type Ring string

// The rings, from the strongest to the weakest proof.
const (
	Real    Ring = "real"     // the hypervisor itself
	StandIn Ring = "stand-in" // an executable that stands in for the hypervisor's command
	Memory  Ring = "memory"   // the fake driver, which has no hypervisor
)

// StandInEnv is set wherever something stands in for a hypervisor, so that no pass
// there can be taken for one of the real thing.
const StandInEnv = "ASSAY_TEST_STAND_IN"

// Run runs the suite as subtests RING/ROW of t, each on a fresh machine. It skips
// when the hypervisor is absent, unless ASSAY_MUST_RUN names the driver: then
// that is a failure, and so it is in a ring that needs no hypervisor.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	if cfg.Ring == "" {
		cfg.Ring = Real
	}
	if err := cfg.Ring.check(); err != nil {
		t.Fatal(err)
	}
	name := cfg.Driver.Name()
	info, err := cfg.Driver.Probe(t.Context())
	switch {
	case err != nil && cfg.Ring == Real:
		Skip(t, name, fmt.Sprintf("%s: %v", name, err))
	case err != nil:
		t.Fatalf("%s: %v", name, err)
	}
	if cfg.RunDir == "" {
		cfg.RunDir = t.TempDir()
	}
	t.Run(string(cfg.Ring), func(t *testing.T) {
		t.Logf("suite %s: %s on %s", cfg.Ring, name, info.Version) // drivers/all/suite reads this
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				if why := r.missing(cfg, info); why != "" {
					t.Skip(why)
				}
				runRow(t, r, cfg, info)
			})
		}
	})
}

// check fails for a ring that claims more than there is.
func (r Ring) check() error {
	if tool := os.Getenv(StandInEnv); tool != "" && r == Real {
		return fmt.Errorf("ring real: something stands in for %s here; set Config.Ring to drivertest.StandIn", tool)
	}
	return nil
}

// Rows lists the names of the rows, in the suite's order.
func Rows() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

// Skip skips a test for a reason that ASSAY_MUST_RUN, a list of names with
// commas, can turn into a failure: a skip that nobody notices proves nothing.
func Skip(t testing.TB, name, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), name) {
		t.Fatalf("%s must run here (ASSAY_MUST_RUN): %s", name, reason)
	}
	t.Skip(reason)
}

// row is one line of the suite.
type row struct {
	name string
	need vm.Capability // empty: every driver
	fn   func(*env)
}

// adopts is the need of the rows about machines that are not ours. It is a
// driver's ability, and so none of a machine's.
const adopts vm.Capability = "adopt"

// bare names the rows that need no machine of their own.
var bare = []string{"CardTellsTheTruth", "Adopt", "AdoptOfUnknown"}

// missing says why the row does not apply; "" if it does.
func (r row) missing(cfg Config, info vm.Info) string {
	_, adopter := cfg.Driver.(vm.Adopter)
	if r.need == "" || r.need == adopts && adopter || slices.Contains(info.Capabilities, r.need) {
		return ""
	}
	return fmt.Sprintf("the driver does not claim %q", r.need)
}

// runRow runs one row on a machine of its own. t is no *testing.T where the
// suite's own tests watch a driver fail.
func runRow(t testing.TB, r row, cfg Config, info vm.Info) {
	t.Helper()
	timeout := cfg.Timeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	e := &env{TB: t, cfg: cfg, info: info, ctx: ctx, owner: "dt-" + strings.ToLower(rand.Text()[:8])}
	t.Cleanup(func() {
		defer cancel()
		if n, err := cfg.Driver.Sweep(context.WithoutCancel(ctx), e.owner); n != 0 || err != nil {
			t.Errorf("after the row Sweep finds %d machines (%v), want 0: Close left them behind", n, err)
		}
	})
	if !slices.Contains(bare, r.name) {
		e.m = e.launch("main")
		e.c = e.dial(e.m)
	}
	r.fn(e)
}

// env is one fresh machine and a line into it.
type env struct {
	testing.TB
	cfg   Config
	info  vm.Info
	ctx   context.Context
	owner string
	m     vm.Machine
	c     *guest.Client
}

// must ends the row at an error.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%v", err)
	}
}

// spec asks for a small machine in a folder of its own.
func (e *env) spec(name string) vm.Spec {
	e.Helper()
	dir := filepath.Join(e.cfg.RunDir, e.owner, name)
	e.must(os.MkdirAll(dir, 0o700))
	return vm.Spec{
		Name: name, Owner: e.owner, Dir: dir, Image: e.cfg.Image, CPUs: max(e.cfg.CPUs, 1),
		Memory: max(e.cfg.Memory, 512<<20), Cold: e.cfg.Cold, Progress: func(phase string) { e.Logf("%s: %s", name, phase) },
	}
}

// launch makes a machine that is closed when the row is done.
func (e *env) launch(name string) vm.Machine {
	e.Helper()
	m, err := e.cfg.Driver.Launch(e.ctx, e.spec(name))
	e.must(err)
	e.closes(m)
	return m
}

func (e *env) closes(m vm.Machine) {
	e.Cleanup(func() {
		if err := m.Close(); err != nil {
			e.Errorf("close: %v", err)
		}
	})
}

// dial opens a line that is closed when the row is done.
func (e *env) dial(m vm.Machine) *guest.Client {
	e.Helper()
	conn, err := m.Dial(e.ctx)
	e.must(err)
	c, err := guest.Connect(e.ctx, conn)
	e.must(err)
	e.Cleanup(func() { c.Close() })
	return c
}

// sh runs a line of shell and returns its standard output; it must exit with 0.
func (e *env) sh(c *guest.Client, line string) string {
	e.Helper()
	var out, complaint strings.Builder
	exit, err := c.Exec(e.ctx, guest.Command{Shell: line}, nil, &out, &complaint)
	if err != nil || exit.Code != 0 {
		e.Fatalf("%s: got exit %d %s, %v, %q; want 0", line, exit.Code, exit.Signal, err, complaint.String())
	}
	return out.String()
}

// ability returns the machine's ability, which the row needs and so must exist.
func ability[T any](e *env, m vm.Machine) T {
	e.Helper()
	a, err := vm.As[T](m)
	e.must(err)
	return a
}

// gone fails unless a folder has vanished or is empty.
func (e *env) gone(dir string) {
	e.Helper()
	if left, err := os.ReadDir(dir); err == nil && len(left) > 0 {
		e.Errorf("%s holds %v, want nothing left", filepath.Base(dir), left)
	}
}
