package capture

import (
	"slices"

	"assay"
)

// A hush tells which changes between two captures are none, because no agent told
// its part of one of them. The zero value is for captures that are alike.
type hush struct {
	partial bool
	mounted mountPoints // of the one that is whole
}

func hushOf(before, after Capture) hush {
	switch {
	case before.Partial == after.Partial:
		return hush{}
	case before.Partial:
		return hush{true, mountsOf(after.Records)}
	}
	return hush{true, mountsOf(before.Records)}
}

// untold reports whether a change is about what only an agent tells.
func (h hush) untold(c assay.Change) bool {
	if !h.partial {
		return false
	}
	r := Record{c.Kind, c.Key, c.After}
	if c.After == nil {
		r.Attrs = c.Before
	}
	if c.Kind == Unit && c.Op == assay.Modified {
		other := Record{c.Kind, c.Key, c.Before}
		return believable(r, h.mounted) || believable(other, h.mounted) || !slices.ContainsFunc(c.Fields, func(f string) bool { return f != "active" && f != "sub" })
	}
	return believable(r, h.mounted)
}
