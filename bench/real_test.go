//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/images"
)

// TestExecOnQEMU measures one subject with the real contestants. It runs where
// "make bench" has run, because the image takes minutes to build; or everywhere,
// if ASSAY_MUST_RUN says bench.
func TestExecOnQEMU(t *testing.T) {
	const program, agent = "../bin/assay", "../cmd/assay/agent/assay-agent-amd64"
	must := slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "bench")
	store, err := images.Open(images.DefaultDir())
	if err == nil {
		_, err = store.Resolve(imageName)
	}
	for _, path := range []string{program, agent} {
		if _, missing := os.Stat(path); missing != nil && err == nil {
			err = missing
		}
	}
	switch {
	case must:
	case err != nil:
		t.Skip(err)
	case testing.Short():
		t.Skip("real machines take a minute")
	}
	var out, progress bytes.Buffer
	home := filepath.Dir(images.DefaultDir())
	code := run(t.Context(), []string{"-only", "exec", "-n", "1", "-json", "-db", "none", "-home", home, "-assay", program, "-agent", agent}, &out, &progress)
	var table Table
	if err := json.Unmarshal(out.Bytes(), &table); code != 0 || err != nil {
		t.Fatalf("got exit code %d and %v\n%s", code, err, progress.String())
	}
	if len(table.Rows) != 3 {
		t.Fatalf("got %d rows, want one for each contestant", len(table.Rows))
	}
	for _, row := range table.Rows {
		if len(row.Values) != execTimes || row.Median <= 0 || row.Best > row.Median {
			t.Errorf("%s: got %d values, median %v, best %v", row.Contestant, len(row.Values), row.Median, row.Best)
		}
	}
}
