package engine

import (
	"fmt"
	"reflect"
	"sort"

	"go.starlark.net/starlark"
)

// A Type describes a kind of value that scripts see: what assay doc says of it,
// and how its attributes are found. The attributes are said once, here.
type Type struct {
	Name  string
	Doc   string
	Attrs []Attr
}

// An Attr is one attribute or method of a Type. Make one with Field or Method.
type Attr struct {
	Name   string
	Type   string // of the value, or of the method's result
	Doc    string
	Method bool
	Params []Param // of a method

	get func(recv starlark.Value) (starlark.Value, error)
}

// Field is an attribute that get reads from a value.
func Field[T starlark.Value](name, typ, doc string, get func(T) starlark.Value) Attr {
	return Attr{Name: name, Type: typ, Doc: doc, get: func(recv starlark.Value) (starlark.Value, error) {
		return get(recv.(T)), nil
	}}
}

// Method is a method whose arguments are described by A, as by Func. Methods
// only look at their value: they are no steps.
func Method[T starlark.Value, A any](name, result, doc string, def A, fn func(T, A) (starlark.Value, error)) Attr {
	ps := params(reflect.ValueOf(def))
	return Attr{Name: name, Type: result, Doc: doc, Method: true, Params: ps, get: func(recv starlark.Value) (starlark.Value, error) {
		return starlark.NewBuiltin(name, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			a := def
			verb := recv.Type() + "." + name
			if err := unpack(verb, ps, reflect.ValueOf(&a).Elem(), args, kwargs); err != nil {
				return nil, &ScriptError{Err: err}
			}
			v, err := fn(recv.(T), a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", verb, typed(err))
			}
			v.Freeze()
			return v, nil
		}), nil
	}}
}

// Attr returns an attribute of recv, which is of type t; nil if there is none,
// as starlark.HasAttrs wants it.
func (t *Type) Attr(recv starlark.Value, name string) (starlark.Value, error) {
	for _, a := range t.Attrs {
		if a.Name == name {
			return a.get(recv)
		}
	}
	return nil, nil
}

// AttrNames lists the attributes, sorted.
func (t *Type) AttrNames() []string {
	var names []string
	for _, a := range t.Attrs {
		names = append(names, a.Name)
	}
	sort.Strings(names)
	return names
}

// Signature spells the attribute as Starlark would define it.
func (a Attr) Signature() string {
	if a.Method {
		return signature(a.Name, a.Params, a.Type)
	}
	return a.Name + ": " + a.Type
}
