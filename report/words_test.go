package report

import (
	"strings"
	"testing"

	"assay"
)

// TestAdviceOnTooLarge proves that who asked for more than the host has is told to
// ask for less, and not to try the same again.
func TestAdviceOnTooLarge(t *testing.T) {
	f := assay.Failure{Kind: assay.InfraFailure, Message: `launch: cpus: got 9, want at most 2; cpus = 2 would fit: "assay run --fit" and launch(fit = True) take it`}
	if got := adviceOn(&f); !strings.Contains(got, "ask for less") || strings.Contains(got, "run again") {
		t.Errorf("got %q, want how to ask for less", got)
	}
	f.Message = "launch: broken"
	if got := adviceOn(&f); got != advice[assay.InfraFailure] {
		t.Errorf("got %q, want %q", got, advice[assay.InfraFailure])
	}
}
