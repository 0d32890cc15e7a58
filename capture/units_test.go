package capture

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the disk and the running guest say of a unit becomes one record.
func TestUnitsAreJoined(t *testing.T) {
	unit := func(key string, pairs ...string) Record { return Record{Unit, key, attrs(pairs...)} }
	parts := []Record{
		unit("a.service", "type", "service", "enabled", "enabled", "path", "/usr/lib/systemd/system/a.service"),
		unit("a.service", "type", "service", "active", "active", "sub", "running"),
		unit("g@.service", "type", "service", "enabled", "static", "path", "/usr/lib/systemd/system/g@.service"),
		unit("g@1.service", "type", "service", "active", "active", "sub", "running"),
		unit("late.service", "enabled", "generated", "path", "/run/systemd/generator.late/late.service"),
		unit("late.service", "enabled", "disabled", "path", "/usr/lib/systemd/system/late.service"),
		unit("shadowed.service", "enabled", "disabled", "path", "/usr/lib/systemd/system/shadowed.service"),
		unit("shadowed.service", "enabled", "static", "path", "/run/systemd/system/shadowed.service"),
		{User, "root", attrs("uid", "0")},
		{Sysctl, "a", nil},
	}
	want := []Record{
		{Sysctl, "a", nil},
		unit("a.service", "type", "service", "enabled", "enabled", "path", "/usr/lib/systemd/system/a.service", "active", "active", "sub", "running"),
		unit("g@.service", "type", "service", "enabled", "static", "path", "/usr/lib/systemd/system/g@.service", "active", "inactive"),
		unit("g@1.service", "type", "service", "active", "active", "sub", "running", "path", "/usr/lib/systemd/system/g@.service"),
		unit("late.service", "enabled", "disabled", "path", "/usr/lib/systemd/system/late.service", "active", "inactive"),
		unit("shadowed.service", "enabled", "static", "path", "/run/systemd/system/shadowed.service", "active", "inactive"),
		{User, "root", attrs("uid", "0")},
	}
	once := finish("", slices.Clone(parts), nil).Records
	if d := cmp.Diff(want, once); d != "" {
		t.Errorf("joined (-want +got):\n%s", d)
	}
	slices.Reverse(parts)
	if d := cmp.Diff(want, finish("", parts, nil).Records); d != "" {
		t.Errorf("the other way round (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want, finish("", once, nil).Records); d != "" {
		t.Errorf("joined again (-want +got):\n%s", d)
	}
}

// Whoever chooses a collector has its live part too; the part alone can be had.
func TestPartsBelongToTheirWhole(t *testing.T) {
	for name, want := range map[string][]string{"units": {"units", "activity"}, "activity": {"activity"}, "packages": {"packages", "rpm"}, "rpm": {"rpm"}} {
		chosen, err := choose(Collectors(), []string{name})
		check(t, err)
		if got := names(chosen); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	var lively []string
	for _, c := range Collectors() {
		if live(c) {
			lively = append(lively, c.Name())
		}
	}
	if want := []string{"kernel", "processes", "rpm", "activity", "network", "mounts", "journal"}; !slices.Equal(lively, want) {
		t.Errorf("got %q live, want %q", lively, want)
	}
}
