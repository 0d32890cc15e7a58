package assay_test

import (
	"slices"
	"testing"

	"assay"
)

func TestVersionKeySortsAsVersionsDo(t *testing.T) {
	versions := []string{"", "3.9", "3.22", "8.10", "9", "10", "11", "20.04", "22.04", "22.10", "39"}
	keys := make([]string, len(versions))
	for i, v := range versions {
		keys[i] = assay.VersionKey(v)
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys of %q are not in order: %q", versions, keys)
	}
	if a, b := assay.VersionKey("12"), assay.VersionKey("012"); a != b {
		t.Errorf("leading zero: got %q and %q, want the same", a, b)
	}
}

func TestWorst(t *testing.T) {
	for _, c := range []struct {
		got  assay.Verdict
		want assay.Verdict
	}{
		{assay.Worst(), assay.Skip},
		{assay.Worst(assay.Pass, assay.Warn), assay.Warn},
		{assay.Worst(assay.Pass, assay.Skip), assay.Skip},
		{assay.Worst(assay.Fail, assay.Error, assay.Pass), assay.Error},
		{assay.Worst(assay.Pass, "nonsense"), assay.Error},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
