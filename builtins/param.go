package builtins

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/near"
)

type paramArgs struct {
	Name    string         `star:"name" help:"the parameter's name"`
	Default starlark.Value `star:"default?,pos" help:"its value if the user gives none; without a default the user must"`
	Help    string         `star:"help?" help:"what it means, for the message that asks for it"`
}

var param = engine.Func("param", "str",
	"Returns the value that the user gave with -p name=value, else the variant's, else the default.\n"+
		"A path that the user gave counts from the folder that assay was started in.",
	paramArgs{},
	func(_ context.Context, s *engine.Session, a paramArgs) (starlark.Value, error) {
		if v, ok := s.Param(a.Name); ok {
			return starlark.String(v), nil
		}
		if a.Default != nil {
			if word := near.Name(a.Name, slices.Sorted(maps.Keys(s.Params()))); word != "" {
				s.Log(fmt.Sprintf("param: %s: got no value, but %s has one; was %s meant?", a.Name, word, a.Name))
			}
			return a.Default, nil
		}
		if s.Planning() {
			return starlark.String(""), nil // a variant may give it
		}
		return nil, a.missing(slices.Sorted(maps.Keys(s.Params())))
	}).Value()

func (a paramArgs) missing(given []string) error {
	what := ""
	if a.Help != "" {
		what = ", " + a.Help
	}
	if word := near.Name(a.Name, given); word != "" {
		return engine.Scriptf("param: %s: got no value but one for %s; write -p %s=VALUE%s", a.Name, word, a.Name, what)
	}
	return engine.Scriptf("param: %s: got no value; write -p %s=VALUE%s", a.Name, a.Name, what)
}
