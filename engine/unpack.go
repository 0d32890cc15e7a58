package engine

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"assay/near"
)

// An unpacking moves the arguments of one call into an argument struct.
type unpacking struct {
	verb  string
	ps    []Param
	dst   reflect.Value
	given map[string]bool
}

// unpack fills dst, which holds the defaults, from the arguments of a call.
func unpack(verb string, ps []Param, dst reflect.Value, args starlark.Tuple, kwargs []starlark.Tuple) error {
	u := unpacking{verb, ps, dst, map[string]bool{}}
	if err := u.positional(args); err != nil {
		return err
	}
	for _, kv := range kwargs {
		if err := u.keyword(string(kv[0].(starlark.String)), kv[1]); err != nil {
			return err
		}
	}
	return u.missing()
}

func (u *unpacking) positional(args starlark.Tuple) error {
	for i, v := range args {
		if i >= len(u.ps) {
			return fmt.Errorf("%s: got %d arguments, want at most %d", u.verb, len(args), len(u.ps))
		}
		p := u.ps[i]
		if p.Variadic {
			return u.rest(p, args[i:])
		}
		if p.Keyword {
			return fmt.Errorf("%s: for parameter %s: got a positional argument, want keyword %s = %s", u.verb, p.Name, p.Name, v)
		}
		if err := u.set(p, v); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacking) rest(p Param, args starlark.Tuple) error {
	field := u.dst.FieldByIndex(p.index)
	for _, v := range args {
		elem := reflect.New(field.Type().Elem())
		if err := unpackValue(v, elem); err != nil {
			return fmt.Errorf("%s: for parameter %s: %w", u.verb, p.Name, err)
		}
		field.Set(reflect.Append(field, elem.Elem()))
	}
	return nil
}

func (u *unpacking) keyword(name string, v starlark.Value) error {
	i := slices.IndexFunc(u.ps, func(p Param) bool { return p.Name == name && !p.Variadic })
	if i < 0 {
		return u.unknown(name)
	}
	if u.given[name] {
		return fmt.Errorf("%s: for parameter %s: got two values, want one", u.verb, name)
	}
	return u.set(u.ps[i], v)
}

func (u *unpacking) unknown(name string) error {
	var names []string
	for _, p := range u.ps {
		names = append(names, p.Name)
	}
	if word := near.Name(name, names); word != "" {
		return fmt.Errorf("%s: unexpected keyword argument %s; did you mean %s?", u.verb, name, word)
	}
	return fmt.Errorf("%s: unexpected keyword argument %s; want one of %s", u.verb, name, strings.Join(names, ", "))
}

func (u *unpacking) set(p Param, v starlark.Value) error {
	u.given[p.Name] = true
	field := u.dst.FieldByIndex(p.index)
	if v == starlark.None && p.Optional && field.Type() != reflect.TypeFor[starlark.Value]() {
		return nil
	}
	if err := unpackValue(v, field.Addr()); err != nil {
		return fmt.Errorf("%s: for parameter %s: %w", u.verb, p.Name, err)
	}
	return nil
}

func (u *unpacking) missing() error {
	for _, p := range u.ps {
		if !p.Optional && !p.Variadic && !u.given[p.Name] {
			return fmt.Errorf("%s: missing argument for %s, %s", u.verb, p.Name, p.Doc)
		}
	}
	return nil
}

// unpackValue stores v in *ptr.
func unpackValue(v starlark.Value, ptr reflect.Value) error {
	if u, ok := ptr.Interface().(starlark.Unpacker); ok {
		return u.Unpack(v)
	}
	dst := ptr.Elem()
	if t := reflect.TypeOf(v); t.AssignableTo(dst.Type()) {
		dst.Set(reflect.ValueOf(v))
		return nil
	}
	wrong := fmt.Errorf("got %s, want %s", v.Type(), typeName(dst.Type()))
	switch dst.Kind() {
	case reflect.String:
		s, ok := starlark.AsString(v)
		if !ok {
			return wrong
		}
		dst.SetString(s)
	case reflect.Bool:
		b, ok := v.(starlark.Bool)
		if !ok {
			return wrong
		}
		dst.SetBool(bool(b))
	case reflect.Int, reflect.Int64:
		return unpackInt(v, dst, wrong)
	case reflect.Float64:
		f, ok := starlark.AsFloat(v)
		if !ok {
			return wrong
		}
		dst.SetFloat(f)
	case reflect.Slice:
		return unpackSlice(v, dst, wrong)
	case reflect.Map:
		return unpackMap(v, dst, wrong)
	default:
		return wrong
	}
	return nil
}

func unpackInt(v starlark.Value, dst reflect.Value, wrong error) error {
	i, ok := v.(starlark.Int)
	if !ok {
		return wrong
	}
	n, ok := i.Int64()
	if !ok || dst.OverflowInt(n) {
		return fmt.Errorf("got %s, want a smaller number", v)
	}
	dst.SetInt(n)
	return nil
}

func unpackSlice(v starlark.Value, dst reflect.Value, wrong error) error {
	seq, ok := v.(starlark.Sequence)
	if !ok {
		return wrong
	}
	it := seq.Iterate()
	defer it.Done()
	out := reflect.MakeSlice(dst.Type(), 0, seq.Len())
	for x := starlark.Value(nil); it.Next(&x); {
		elem := reflect.New(dst.Type().Elem())
		if err := unpackValue(x, elem); err != nil {
			return fmt.Errorf("element %d: %w", out.Len(), err)
		}
		out = reflect.Append(out, elem.Elem())
	}
	dst.Set(out)
	return nil
}

func unpackMap(v starlark.Value, dst reflect.Value, wrong error) error {
	m, ok := v.(starlark.IterableMapping)
	if !ok {
		return wrong
	}
	out := reflect.MakeMap(dst.Type())
	for _, kv := range m.Items() {
		key, ok := starlark.AsString(kv[0])
		if !ok {
			return fmt.Errorf("key %s: got %s, want string", kv[0], kv[0].Type())
		}
		elem := reflect.New(dst.Type().Elem())
		if err := unpackValue(kv[1], elem); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		out.SetMapIndex(reflect.ValueOf(key), elem.Elem())
	}
	dst.Set(out)
	return nil
}
