package builtins_test

import (
	"flag"
	"os"
	"testing"

	"assay/builtins"
	"assay/drivers/fake"
	"assay/engine"
	"assay/engine/enginetest"
	"assay/images"
	"assay/stdlib"
	"assay/vm"
)

var update = flag.Bool("update", false, "rewrite golden files")

// catalog stands for an image store that has everything but two images.
type catalog struct{ driver vm.Driver }

func (c catalog) Resolve(name string) (vm.Image, error) {
	switch name {
	case "debian-31":
		return vm.Image{}, &images.NotFoundError{Name: name, Near: []string{"debian-13"}}
	case "debian-11":
		return vm.Image{}, &images.NotFoundError{Name: name, Next: `run "assay image build debian-11"`}
	}
	return c.driver.(interface{ Image(string) vm.Image }).Image(name), nil
}

func (c catalog) Match(globs []string) ([]string, error) { return globs, nil }

func testEnv(t *testing.T) engine.Env {
	d := fake.Config{Existing: []string{"mine", "other"}}.New()
	bare := fake.Config{Called: "bare", Without: fake.Bare()}.New()
	disks := fake.Config{Called: "disks", Without: []vm.Capability{vm.CapMemory}}.New()
	return engine.Env{Drivers: []vm.Driver{d, bare, disks}, Images: catalog{d}, Builtins: builtins.All(), Values: builtins.Values(),
		Stdlib: stdlib.FS, StateDir: t.TempDir(), Host: engine.Capacity{CPUs: 4, Memory: 8 << 30}}
}

// TestScripts runs the tests of the verbs, which are written in Starlark.
func TestScripts(t *testing.T) {
	enginetest.Run(t, enginetest.Config{Env: testEnv(t), Params: map[string]string{"skill": "files/skill", "missing": "files/none"}})
}

// TestEveryVerbIsTested fails when a verb has no testdata/<verb>.star.
func TestEveryVerbIsTested(t *testing.T) {
	for _, b := range builtins.All() {
		if _, err := os.Stat("testdata/" + b.Name + ".star"); err != nil {
			t.Error(err)
		}
	}
}

// TestGenerated fails when the stub or the reference is stale; -update rewrites them.
func TestGenerated(t *testing.T) {
	for file, got := range map[string]string{
		"api.py":               engine.Stub(builtins.All(), builtins.Types()...),
		"../docs/reference.md": engine.Reference(builtins.All(), builtins.Types()...),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is stale; run go test ./builtins -update", file)
		}
	}
}
