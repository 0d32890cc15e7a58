// Package near finds the word that was probably meant. It knows words and
// nothing about what they name.
package near

import (
	"slices"
	"strings"
)

// Name returns the known word that got was probably meant to be, the first of
// equals, or "" if none is close.
func Name(got string, known []string) string {
	if names := Names(got, known, 1); len(names) > 0 {
		return names[0]
	}
	return ""
}

// Names returns at most limit known words that are close to got, closest first:
// those that are a few edits away, and those that begin with it.
func Names(got string, known []string, limit int) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, name := range known {
		d := distance(got, name)
		if d <= max(2, len(got)/2) && d < max(len(got), len(name)) || (len(got) > 2 && strings.HasPrefix(name, got)) {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range found[:min(limit, len(found))] {
		names = append(names, c.name)
	}
	return names
}

// distance is the number of single-byte edits from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
