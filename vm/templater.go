package vm

import "context"

// Templater is a driver whose first launch of a kind makes something that later
// launches of that kind start from, and wait for.
type Templater interface {
	// Template names what a launch of spec will start from, the same for all
	// launches that share it, and reports whether it is there. "" means that the
	// launch shares nothing.
	Template(ctx context.Context, spec Spec) (name string, ready bool)
}
