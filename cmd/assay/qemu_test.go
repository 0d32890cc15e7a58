package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/images"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScriptsOnQEMU runs the program on real machines, whose images and
// templates are the user's; results go to the script's folder.
func TestScriptsOnQEMU(t *testing.T) {
	needImage(t, "debian-12")
	before := machines()
	testscript.RunT(oneByOne{t}, testscript.Params{
		Dir:                 "testdata/qemu",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ASSAY_HOME", homeDir())
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("NO_COLOR", "1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "strikes": strikes,
			"alone": func(ts *testscript.TestScript, _ bool, _ []string) { alone(ts, before) },
		},
	})
}

// oneByOne runs scripts one after the other: each counts the machines that it left.
type oneByOne struct{ *testing.T }

func (oneByOne) Parallel()     {}
func (oneByOne) Verbose() bool { return testing.Verbose() }
func (o oneByOne) Run(name string, f func(testscript.T)) {
	o.T.Run(name, func(t *testing.T) { f(oneByOne{t}) })
}

// needImage skips without the image, or fails if ASSAY_MUST_RUN says qemu.
func needImage(t *testing.T, name string) {
	t.Helper()
	must := slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "qemu")
	store, err := images.Open(filepath.Join(homeDir(), "images"))
	if err == nil {
		_, err = store.Resolve(name)
	}
	switch {
	case err != nil && must:
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	case testing.Short() && !must:
		t.Skip("real machines take a minute")
	}
}

// alone waits until no machine is left but those that were there before.
func alone(ts *testscript.TestScript, before map[string]bool) {
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		left = nil
		for pid := range maps.Keys(machines()) {
			if !before[pid] {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	ts.Fatalf("QEMU is left: %v", left)
}

// machines returns the processes that work in a live machine's folder.
func machines() map[string]bool {
	found := map[string]bool{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, dir := range dirs {
		target, err := os.Readlink(dir)
		if err == nil && strings.HasPrefix(target, filepath.Join(homeDir(), "run")+"/") {
			found[filepath.Base(filepath.Dir(dir))] = true
		}
	}
	return found
}
