//go:build linux

package main

import (
	"assay/capture"
	"assay/guest"
)

// handlers are the methods that other rooms hang on the line.
func handlers() map[string]guest.Handler {
	return map[string]guest.Handler{capture.Method: capture.Handler(), capture.WitnessMethod: capture.WitnessHandler()}
}
