package vm

import (
	"reflect"
)

// abilities pairs each capability with the interface that it stands for, in the
// order that Of lists them. Adding a capability is one line here.
var abilities = []struct {
	cap Capability
	has func(Machine) bool
}{
	{CapSnapshot, has[Snapshotter]},
	{CapFork, has[Forker]},
	{CapConsole, has[Consoler]},
	{CapScreenshot, has[Screenshotter]},
	{CapNetwork, has[Networker]},
	{CapSuspend, has[Suspender]},
	{CapUsage, has[Usager]},
	{CapDisk, has[Disker]},
}

// Of lists the capabilities that m really has, in a fixed order.
func Of(m Machine) []Capability {
	var caps []Capability
	for _, a := range abilities {
		if a.has(m) {
			caps = append(caps, a.cap)
		}
	}
	return caps
}

func has[T any](m Machine) bool {
	_, err := As[T](m)
	return err == nil
}

// As returns m, or the first machine that it wraps, as a T; if there is none,
// an *UnsupportedError. A wrapper shows what it wraps by Unwrap() Machine.
func As[T any](m Machine) (T, error) {
	for w := m; w != nil; {
		if t, ok := w.(T); ok {
			return t, nil
		}
		u, ok := w.(interface{ Unwrap() Machine })
		if !ok {
			break
		}
		w = u.Unwrap()
	}
	var zero T
	return zero, &UnsupportedError{Machine: m.ID(), Want: reflect.TypeFor[T]().Name()}
}
