//go:build linux

package main

import (
	"context"
	"encoding/json"
	"io"

	"assay/capture"
	"assay/guest"
)

// handlers are the methods that other rooms hang on the line.
func handlers(system *guest.OS) map[string]guest.Handler {
	return map[string]guest.Handler{
		capture.Method:        undisturbed(system, capture.Handler()),
		capture.WitnessMethod: capture.WitnessHandler(),
	}
}

// undisturbed holds h back while the agent rehearses: what it looks at shall be
// the guest's own.
func undisturbed(system *guest.OS, h guest.Handler) guest.Handler {
	return func(ctx context.Context, args json.RawMessage, in io.Reader, out io.Writer) (any, error) {
		system.Rehearsed()
		return h(ctx, args, in, out)
	}
}
