package cli_test

import (
	"strings"
	"testing"

	"assay/drivers/internal/cli"
)

// TestWrongVariable proves that a command that the user named and that is not
// there is blamed on the variable.
func TestWrongVariable(t *testing.T) {
	t.Setenv("ASSAY_HYPER", "/nonexistent/hyper")
	tool := cli.Tool{Driver: "hyp", Name: "hyper"}
	_, err := tool.Run(t.Context(), "version")
	for _, err := range []error{err, tool.Unavailable(err)} {
		if err == nil || !strings.Contains(err.Error(), "$ASSAY_HYPER: ") {
			t.Errorf("got %v, want the variable's name", err)
		}
	}
}
