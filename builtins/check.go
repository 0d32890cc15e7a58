package builtins

import (
	"context"
	"errors"

	"go.starlark.net/starlark"

	"assay/engine"
)

type checkArgs struct {
	Condition starlark.Value `star:"condition" help:"what must be true"`
	Message   string         `star:"message" help:"what is wrong if it is not"`
}

var check = engine.Func("check", "None",
	"Fails the test, with the message, unless the condition is true. Every check is recorded.",
	checkArgs{},
	func(_ context.Context, s *engine.Session, a checkArgs) (starlark.Value, error) {
		s.Describe(a.Message, "")
		ok := bool(a.Condition.Truth())
		s.AddCheck(ok, a.Message)
		if !ok {
			return nil, &engine.SubjectError{Err: errors.New("check: " + a.Message)}
		}
		return starlark.None, nil
	})
