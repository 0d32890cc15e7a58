package engine

import (
	"errors"
	"fmt"
	"testing"

	"assay/vm"
)

// TestShrink proves that a smaller machine is offered where one fits, and never
// one that is no smaller or too small to boot.
func TestShrink(t *testing.T) {
	asked := vm.Spec{CPUs: 8, Memory: 64 << 30, Disk: 100 << 30, Image: vm.Image{Size: 10 << 30}}
	for _, c := range []struct {
		what, has string
		want      string // empty: nothing fits
	}{
		{"cpus", "4", "cpus = 4"},
		{"cpus", "0", ""},
		{"cpus", "9", ""},
		{"memory", "24 GiB", `memory = "16G"`},
		{"memory", "21.5 GiB free of 24 GiB", `memory = "16G"`},
		{"memory", "3000 MiB beside the other machines of this run", `memory = "2G"`},
		{"memory", "100 MiB", ""},
		{"memory", "lots", ""},
		{"memory", "", ""},
		{"memory", "-5 GiB", ""},
		{"memory", "1e300 GiB", ""},
		{"disk", "40 GiB free", `disk = "32G"`},
		{"disk", "8 GiB", ""}, // the image is larger
		{"beauty", "1", ""},
	} {
		err := fmt.Errorf("launch: %w", &vm.ResourceError{What: c.what, Got: "more", Has: c.has})
		smaller, what, ok := shrink(asked, err)
		if ok != (c.want != "") || ok && what != c.want {
			t.Errorf("%s, %q: got %q (%v), want %q", c.what, c.has, what, ok, c.want)
		}
		if ok && smaller.CPUs == asked.CPUs && smaller.Memory == asked.Memory && smaller.Disk == asked.Disk {
			t.Errorf("%s, %q: it is no smaller", c.what, c.has)
		}
	}
	if _, _, ok := shrink(asked, errors.New("other trouble")); ok {
		t.Error("other trouble has nothing to do with sizes")
	}
}
