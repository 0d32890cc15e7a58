package builtins

import (
	"context"

	"go.starlark.net/starlark"

	"assay/engine"
)

type logArgs struct {
	Message starlark.Value `star:"message" help:"a string, or any value, which is shown as print shows it"`
}

var logMessage = engine.Func("log", "None", "Shows a message in the run's output.", logArgs{},
	func(_ context.Context, s *engine.Session, a logArgs) (starlark.Value, error) {
		text, ok := starlark.AsString(a.Message)
		if !ok {
			text = a.Message.String()
		}
		s.Log(text)
		return starlark.None, nil
	}).Value()
