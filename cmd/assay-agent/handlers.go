package main

import "assay/guest"

// handlers are the methods that other rooms hang on the line.
func handlers() map[string]guest.Handler {
	return map[string]guest.Handler{}
}
