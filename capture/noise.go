package capture

import (
	"slices"
	"strings"

	"assay"
)

// Noise is what machines of one image do by themselves, learnt from placebos. It
// is measured and not listed: what no placebo made is no noise, wherever it is.
// The zero value knows nothing.
type Noise struct {
	placebos []assay.Placebo
	seen     map[noiseKey][]sighting
}

// A noiseKey is what sightings of the same change have in common.
type noiseKey struct {
	kind, key string // the key with what is made up anew each time levelled out
	op        assay.Op
}

// A sighting is one change that one placebo made.
type sighting struct {
	placebo int // which
	assay.Change
}

// NewNoise learns from placebos of one image.
func NewNoise(placebos []assay.Placebo) Noise {
	n := Noise{placebos: placebos, seen: map[noiseKey][]sighting{}}
	for i, p := range placebos {
		for _, c := range p.Changes {
			k := keyOf(c)
			n.seen[k] = append(n.seen[k], sighting{i, c})
		}
	}
	return n
}

func keyOf(c assay.Change) noiseKey { return noiseKey{c.Kind, levelKey(c.Key), c.Op} }

// Subtract splits what changed in so many seconds into what is kept and what an
// idle machine does as well. A change is noise if placebos made the same: the
// same kind of record under the same key, in the same way, and no attribute of it
// has a value that could not have come about by itself. What is noise only in
// part is kept whole. Both results are in the order of changes.
func (n Noise) Subtract(changes []assay.Change, seconds float64) (kept []assay.Change, noise []assay.Noise) {
	for _, c := range changes {
		seen := n.same(c)
		if len(seen) == 0 {
			kept = append(kept, c)
			continue
		}
		k, of := n.frequency(seen, seconds)
		noise = append(noise, assay.Noise{Change: c, Seen: k, Of: of})
	}
	return kept, noise
}

// same returns the sightings that explain all of c, or none.
func (n Noise) same(c assay.Change) []sighting {
	seen := n.seen[keyOf(c)]
	if len(seen) == 0 || disputed(c) {
		return nil
	}
	seen = slices.DeleteFunc(slices.Clone(seen), func(s sighting) bool { return s.Key != c.Key && !newNames(c) })
	if len(seen) == 0 || !explains(seen, c) {
		return nil
	}
	return seen
}

// disputed reports whether host and guest disagree about a record: that is never
// noise.
func disputed(c assay.Change) bool {
	return c.Before["disputed"] != "" || c.After["disputed"] != ""
}

// newNames reports whether a change may have another name in each machine: a
// record that came or went, or a file below a folder that bears the machine's id.
func newNames(c assay.Change) bool {
	return c.Op != assay.Modified || levelIDs(c.Key) != c.Key
}

// frequency returns in how many placebos the sightings were, and of how many: of
// those that lasted at least as long, and of shorter ones that saw it already.
func (n Noise) frequency(seen []sighting, seconds float64) (k, of int) {
	saw := map[int]bool{}
	for _, s := range seen {
		saw[s.placebo] = true
	}
	for i, p := range n.placebos {
		if p.Seconds >= seconds || saw[i] {
			of++
		}
	}
	return len(saw), of
}

// An Idle is one line of a noise model: a change that machines of an image make
// by themselves.
type Idle struct {
	Kind    string   `json:"kind"`
	Key     string   `json:"key"` // with what is made up anew each time levelled out
	Op      assay.Op `json:"op"`
	Fields  []string `json:"fields,omitempty"`
	Example string   `json:"example"` // a key as it was
	Seen    int      `json:"seen"`    // in so many placebos …
	Of      int      `json:"of"`      // … of so many
	Seconds float64  `json:"seconds"` // of the shortest placebo that saw it
}

// Idles returns the model's lines, the most frequent first.
func (n Noise) Idles() []Idle {
	var all []Idle
	for k, seen := range n.seen {
		l := Idle{Kind: k.kind, Key: k.key, Op: k.op, Example: seen[0].Key, Of: len(n.placebos), Seconds: n.placebos[seen[0].placebo].Seconds}
		saw := map[int]bool{}
		for _, s := range seen {
			saw[s.placebo] = true
			l.Seconds = min(l.Seconds, n.placebos[s.placebo].Seconds)
			l.Fields = append(l.Fields, s.Fields...)
		}
		slices.Sort(l.Fields)
		l.Fields, l.Seen = slices.Compact(l.Fields), len(saw)
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Idle) int {
		if a.Seen != b.Seen {
			return b.Seen - a.Seen
		}
		return strings.Compare(a.Kind+" "+a.Key+" "+string(a.Op), b.Kind+" "+b.Key+" "+string(b.Op))
	})
	return all
}
