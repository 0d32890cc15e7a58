package engine

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"go.starlark.net/starlark"
)

// A Builtin is one verb that a script may call. Make one with Func.
type Builtin struct {
	Name   string
	Doc    string // what it does: a sentence, then paragraphs
	Params []Param
	Result string // type of what it returns, as stubs spell it

	needs []Need
	value bool // makes a value: no step, allowed wherever the script is evaluated
	call  caller
}

type caller func(ctx context.Context, s *Session, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

// A Param is one parameter, read from a field of an argument struct.
type Param struct {
	Name     string
	Type     string
	Doc      string
	Default  string // as Starlark spells it; empty if the parameter is required
	Optional bool
	Keyword  bool // cannot be given by position
	Variadic bool // takes all further positional arguments

	index []int // of the field
}

// Func makes a Builtin from fn. The argument struct A is the signature, and def
// holds the defaults of the optional parameters:
//
//	type execArgs struct {
//		Machine *Machine `star:"machine" help:"machine to run on"`
//		Timeout Duration `star:"timeout?" help:"when to give up"`
//	}
//
// A name that ends in "?" is optional and given by keyword; "name?,pos" may be
// given by position too; "*name" takes all further positional arguments. Fields
// are strings, booleans, integers, floats, slices and string maps of these,
// Starlark values, and whatever implements starlark.Unpacker. None stands for
// an optional argument that is not given.
func Func[A any](name, result, doc string, def A, fn func(context.Context, *Session, A) (starlark.Value, error)) Builtin {
	ps := params(reflect.ValueOf(def))
	return Builtin{Name: name, Doc: doc, Params: ps, Result: result,
		call: func(ctx context.Context, s *Session, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			a := def
			if err := unpack(name, ps, reflect.ValueOf(&a).Elem(), args, kwargs); err != nil {
				return nil, &ScriptError{Err: err}
			}
			return fn(ctx, s, a)
		}}
}

// Value returns b as a maker of values: its calls are no steps of the run, and
// it may be called while the engine plans.
func (b Builtin) Value() Builtin {
	b.value = true
	return b
}

// Signature spells b as Starlark would define it.
func (b Builtin) Signature() string { return signature(b.Name, b.Params, b.Result) }

func signature(name string, ps []Param, result string) string {
	var words []string
	star := false
	for _, p := range ps {
		star = star || p.Variadic
		if p.Keyword && !star {
			words, star = append(words, "*"), true
		}
		words = append(words, p.signature())
	}
	return fmt.Sprintf("%s(%s) -> %s", name, strings.Join(words, ", "), result)
}

func (p Param) signature() string {
	switch {
	case p.Variadic:
		return "*" + p.Name + ": " + p.Type
	case p.Optional:
		return p.Name + ": " + p.Type + " = " + p.Default
	}
	return p.Name + ": " + p.Type
}

// params reads the signature that def's type spells. A field without a star tag
// is a mistake of the builtin's author.
func params(def reflect.Value) []Param {
	var ps []Param
	for _, f := range reflect.VisibleFields(def.Type()) {
		if f.Anonymous {
			continue
		}
		ps = append(ps, param(def, f))
	}
	return ps
}

func param(def reflect.Value, f reflect.StructField) Param {
	tag, pos := strings.CutSuffix(f.Tag.Get("star"), ",pos")
	name, variadic := strings.CutPrefix(tag, "*")
	name, optional := strings.CutSuffix(name, "?")
	if name == "" || f.Tag.Get("help") == "" {
		panic(fmt.Sprintf("%s.%s: want star and help tags", def.Type(), f.Name))
	}
	p := Param{Name: name, Doc: f.Tag.Get("help"), Optional: optional, Variadic: variadic, index: f.Index}
	p.Keyword = optional && !pos
	t := f.Type
	if variadic {
		t = t.Elem()
	}
	p.Type = typeName(t)
	if optional {
		p.Default = literal(def.FieldByIndex(f.Index))
	}
	return p
}

// A StarType names its type in documentation: "str | list[str]".
type StarType interface{ StarType() string }

// typeName names a field's type as stubs do.
func typeName(t reflect.Type) string {
	if z, ok := reflect.Zero(t).Interface().(StarType); ok {
		return z.StarType()
	}
	if s, ok := starTypes[t]; ok {
		return s
	}
	if v, ok := reflect.Zero(t).Interface().(starlark.Value); ok {
		return v.Type()
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list[" + typeName(t.Elem()) + "]"
	case reflect.Map:
		return "dict[str, " + typeName(t.Elem()) + "]"
	case reflect.String:
		return "str"
	case reflect.Bool:
		return "bool"
	case reflect.Float64:
		return "float"
	case reflect.Int, reflect.Int64:
		return "int"
	}
	return t.Name()
}

var starTypes = map[reflect.Type]string{
	reflect.TypeFor[*starlark.List]():     "list",
	reflect.TypeFor[*starlark.Dict]():     "dict",
	reflect.TypeFor[starlark.Value]():     "Any",
	reflect.TypeFor[starlark.Callable]():  "Callable",
	reflect.TypeFor[*starlark.Function](): "Callable",
}

// literal spells a default as Starlark would.
func literal(v reflect.Value) string {
	if v.IsZero() && v.Kind() != reflect.Bool {
		return "None"
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && v.Kind() != reflect.Pointer {
		return starlark.String(s.String()).String()
	}
	switch v.Kind() {
	case reflect.Bool:
		return starlark.Bool(v.Bool()).String()
	case reflect.String:
		return starlark.String(v.String()).String()
	}
	return fmt.Sprint(v.Interface())
}
