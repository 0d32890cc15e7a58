package cli

import "fmt"

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
	return fmt.Errorf("got %q for the machine %q, want existing = %q, as every test that uses it", called, name, want)
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
