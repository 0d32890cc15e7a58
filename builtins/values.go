package builtins

import (
	"fmt"

	"go.starlark.net/starlark"
)

func unhashable(v starlark.Value) error { return fmt.Errorf("unhashable: %s", v.Type()) }

func frozenList(elems []starlark.Value) *starlark.List {
	l := starlark.NewList(elems)
	l.Freeze()
	return l
}

func stringList(words []string) *starlark.List {
	var elems []starlark.Value
	for _, w := range words {
		elems = append(elems, starlark.String(w))
	}
	return frozenList(elems)
}

// stringDict makes a frozen dict, in the order of keys.
func stringDict(keys []string, value func(key string) starlark.Value) *starlark.Dict {
	d := starlark.NewDict(len(keys))
	for _, k := range keys {
		_ = d.SetKey(starlark.String(k), value(k)) // strings are hashable and d is not frozen yet
	}
	d.Freeze()
	return d
}
