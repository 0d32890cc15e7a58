package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"assay/drivers/all"
	"assay/vm"
)

// TestDriversPage fails when docs/drivers.md is not what the drivers say of
// themselves; -update writes it.
func TestDriversPage(t *testing.T) {
	const file = "../../docs/drivers.md"
	got, err := driversPage(all.Drivers(t.TempDir(), agentFor))
	if err != nil {
		t.Fatal(err)
	}
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
		t.Errorf("%s is stale; run \"make generate\"", file)
	}
}

// TestCards proves that every driver of a hypervisor has a card, that says what to
// do about all that is lacking, and that no two drivers share a name.
func TestCards(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range all.Drivers(t.TempDir(), agentFor) {
		if seen[d.Name()] {
			t.Errorf("%s: got two drivers of that name", d.Name())
		}
		seen[d.Name()] = true
		if isMadeUp(d) {
			continue
		}
		if _, ok := d.(vm.Carder); !ok {
			t.Errorf("%s: got no card, want one", d.Name())
			continue
		}
		c := card(d)
		if c.Title == "" || c.Tool == "" || len(c.Systems) == 0 || c.Isolation == "" {
			t.Errorf("%s: got card %+v, want title, tool, systems and isolation", d.Name(), c)
		}
		for _, ability := range vm.All() {
			if instead := c.Instead[ability]; !can(d, ability) && strings.TrimSpace(instead) == "" {
				t.Errorf("%s lacks %s: got nothing to do instead, want something", d.Name(), ability)
			}
		}
	}
}

// TestSweepWithoutHypervisors proves that cleaning up does not need hypervisors
// that are not there.
func TestSweepWithoutHypervisors(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, d := range all.Drivers(t.TempDir(), agentFor) {
		n, err := d.Sweep(t.Context(), "nobody")
		if u := (*vm.UnavailableError)(nil); errors.As(err, &u) && u.Absent {
			err = nil // that it is not here is an answer too
		}
		if n != 0 || err != nil {
			t.Errorf("%s: got %d and %v, want nothing", d.Name(), n, err)
		}
	}
}
