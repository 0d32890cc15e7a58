package vm

import (
	"reflect"
)

// abilities pairs each capability with the interface that it stands for, in the
// order that Of lists them. Adding a capability is one line here.
var abilities = []struct {
	cap  Capability
	kind reflect.Type
}{
	{CapSnapshot, reflect.TypeFor[Snapshotter]()},
	{CapMemory, reflect.TypeFor[MemorySnapshotter]()},
	{CapFork, reflect.TypeFor[Forker]()},
	{CapConsole, reflect.TypeFor[Consoler]()},
	{CapScreenshot, reflect.TypeFor[Screenshotter]()},
	{CapNetwork, reflect.TypeFor[Networker]()},
	{CapSuspend, reflect.TypeFor[Suspender]()},
	{CapUsage, reflect.TypeFor[Usager]()},
	{CapDisk, reflect.TypeFor[Disker]()},
}

// Limited is a machine whose type has more abilities than it has itself: its
// hypervisor is too old, or it is a container.
type Limited interface {
	// Lacks reports that the ability is missing, and what the user can do instead.
	Lacks(c Capability) (instead string, lacks bool)
}

// Of lists the capabilities that m really has, in a fixed order.
func Of(m Machine) []Capability {
	var caps []Capability
	for _, a := range abilities {
		if found, _ := find(m, a.kind); found != nil {
			caps = append(caps, a.cap)
		}
	}
	return caps
}

// Lacking says what a Limited machine lacks of what its type can, and what the user
// can do instead.
func Lacking(m Limited) map[Capability]string {
	lacks := map[Capability]string{}
	for _, a := range abilities {
		if instead, is := m.Lacks(a.cap); is {
			lacks[a.cap] = instead
		}
	}
	return lacks
}

// All lists every capability there is, in Of's order.
func All() []Capability {
	var caps []Capability
	for _, a := range abilities {
		caps = append(caps, a.cap)
	}
	return caps
}

// As returns m, or the first machine that it wraps, as a T; if there is none,
// an *UnsupportedError. A wrapper shows what it wraps by Unwrap() Machine.
func As[T any](m Machine) (T, error) {
	kind := reflect.TypeFor[T]()
	found, instead := find(m, kind)
	if t, ok := found.(T); ok {
		return t, nil
	}
	var zero T
	return zero, &UnsupportedError{Machine: m.ID(), Want: kind.Name(), Instead: instead}
}

// find returns the first of m and the machines that it wraps which is of that
// kind; nil if there is none, or it lacks what it should have.
func find(m Machine, kind reflect.Type) (found Machine, instead string) {
	for w := m; w != nil; {
		if reflect.TypeOf(w).Implements(kind) {
			if instead, lacks := lacks(w, kind); lacks {
				return nil, instead
			}
			return w, ""
		}
		u, ok := w.(interface{ Unwrap() Machine })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	return nil, ""
}

// lacks asks a Limited machine.
func lacks(m Machine, kind reflect.Type) (instead string, lacks bool) {
	l, ok := m.(Limited)
	if !ok {
		return "", false
	}
	for _, a := range abilities {
		if a.kind == kind {
			return l.Lacks(a.cap)
		}
	}
	return "", false
}
