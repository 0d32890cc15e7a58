package cli

import (
	"fmt"

	"assay/vm"
)

// Lent refuses a machine that its user calls by another word than the one that all
// tests must use, so that two tests never take it for two: its name, or its id
// where others share the name.
func Lent(called, name, id string, shared bool) error {
	want := name
	if shared {
		want = id
	}
	if called == want {
		return nil
	}
	return &vm.UnsupportedError{Machine: name, Want: fmt.Sprintf("the name %q for it", called),
		Instead: fmt.Sprintf("write existing = %q, as every test does that uses it", want)}
}

// LentOf is Lent for one of a list.
func LentOf(list []Listed, called string, l Listed) error {
	n := 0
	for _, other := range list {
		if other.Name == l.Name {
			n++
		}
	}
	return Lent(called, l.Name, l.ID, n > 1)
}
