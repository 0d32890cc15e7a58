package engine_test

import (
	"context"
	"testing"

	"assay/engine"
	"assay/vm"
)

// boxed is a driver whose newest version can do more than what is here.
type boxed struct{ vm.Driver }

func (boxed) Name() string { return "boxed" }
func (boxed) Card() vm.Card {
	return vm.Card{Title: "Boxes", Capabilities: []vm.Capability{vm.CapMemory, vm.CapFork}}
}
func (boxed) Probe(context.Context) (vm.Info, error) {
	return vm.Info{Version: "Boxes 1", Lacks: map[vm.Capability]string{vm.CapMemory: "take a bigger box"}}, nil
}

// TestLackHere proves that a driver's own reason goes before the guess that its
// version is old, and that nobody is sent from a driver to the same one.
func TestLackHere(t *testing.T) {
	for ability, want := range map[vm.Capability]string{
		vm.CapMemory: "boxed (Boxes 1) lacks memory; take a bigger box",
		vm.CapFork:   "boxed (Boxes 1) lacks fork; a newer version has it",
	} {
		if got := engine.Lack(t.Context(), boxed{}, []vm.Driver{boxed{}}, string(ability)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
