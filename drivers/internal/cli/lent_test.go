package cli_test

import (
	"strings"
	"testing"

	"assay/drivers/internal/cli"
)

// TestLent proves that a lent machine has one word, which all tests use: else two
// of them could use it at the same time.
func TestLent(t *testing.T) {
	list := []cli.Listed{{ID: "A1", Name: "one"}, {ID: "B2", Name: "two"}, {ID: "C3", Name: "two"}}
	for _, tc := range []struct {
		called string
		l      cli.Listed
		want   string // in the error; empty: none
	}{
		{"one", list[0], ""},
		{"A1", list[0], `existing = "one"`},
		{"B2", list[1], ""},
		{"b2", list[1], `existing = "B2"`},
	} {
		err := cli.LentOf(list, tc.called, tc.l)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.called, err, tc.want)
		}
	}
}
