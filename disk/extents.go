package disk

import (
	"cmp"
	"slices"
	"sort"
)

// An Extent is a range of bytes.
type Extent struct {
	Off, Len int64
}

// Extents are ranges of bytes: sorted by offset, none empty, none touching another.
type Extents []Extent

// Bytes returns the sum of the lengths.
func (e Extents) Bytes() int64 {
	var n int64
	for _, x := range e {
		n += x.Len
	}
	return n
}

// Overlaps reports whether one of n bytes from off on lies in e.
func (e Extents) Overlaps(off, n int64) bool {
	i := e.after(off)
	return n > 0 && i < len(e) && e[i].Off < off+n
}

// after returns the index of the first extent that ends behind off.
func (e Extents) after(off int64) int {
	return sort.Search(len(e), func(i int) bool { return e[i].Off+e[i].Len > off })
}

// Within returns what of e lies in the size bytes from off on, counted from off:
// the changes of a partition, from those of its disk.
func (e Extents) Within(off, size int64) Extents {
	var in Extents
	for _, x := range e[e.after(off):] {
		from, to := max(x.Off, off), min(x.Off+x.Len, off+size)
		if from >= to {
			break
		}
		in = append(in, Extent{from - off, to - from})
	}
	return in
}

// merge sorts extents and joins those that touch. It takes the slice over.
func merge(e []Extent) Extents {
	slices.SortFunc(e, func(a, b Extent) int { return cmp.Compare(a.Off, b.Off) })
	out := e[:0]
	for _, x := range e {
		if x.Len <= 0 {
			continue
		}
		if n := len(out) - 1; n >= 0 && x.Off <= out[n].Off+out[n].Len {
			out[n].Len = max(out[n].Len, x.Off+x.Len-out[n].Off)
			continue
		}
		out = append(out, x)
	}
	return out
}
