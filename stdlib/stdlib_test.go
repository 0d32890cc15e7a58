package stdlib_test

import (
	"testing"

	"assay/builtins"
	"assay/drivers/fake"
	"assay/engine"
	"assay/engine/enginetest"
	"assay/stdlib"
	"assay/vm"
)

// catalog stands for an image store that has every image.
type catalog struct{ driver vm.Driver }

func (c catalog) Resolve(name string) (vm.Image, error) {
	return c.driver.(interface{ Image(string) vm.Image }).Image(name), nil
}

func (c catalog) Match(globs []string) ([]string, error) { return globs, nil }

// TestModules runs the tests of the modules, which are written in Starlark, on
// machines in memory.
func TestModules(t *testing.T) {
	d := fake.New()
	enginetest.Run(t, enginetest.Config{Env: engine.Env{
		Drivers: []vm.Driver{d}, Images: catalog{d}, Builtins: builtins.All(), Values: builtins.Values(),
		Stdlib: stdlib.FS, StateDir: t.TempDir(), Host: engine.Capacity{CPUs: 4, Memory: 8 << 30},
	}})
}
