package near_test

import (
	"slices"
	"testing"

	"assay/near"
)

func TestName(t *testing.T) {
	known := []string{"timeout", "check", "command", "debian-12", "debian-13"}
	for got, want := range map[string]string{
		"timout": "timeout", "chek": "check", "comand": "command", "deb": "debian-12", "xyzzyplugh": "", "": "",
	} {
		if name := near.Name(got, known); name != want {
			t.Errorf("%q: got %q, want %q", got, name, want)
		}
	}
}

func TestNamesAreClosestFirst(t *testing.T) {
	got := near.Names("debian-14", []string{"ubuntu-22.04", "debian-1400", "debian-11", "debian-14x"}, 2)
	if want := []string{"debian-11", "debian-14x"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
