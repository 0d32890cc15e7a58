package images

import (
	"slices"
	"strings"
)

// nearest returns at most three known names that are close to name, closest first.
func nearest(name string, list []Entry) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, e := range list {
		d := distance(name, e.Name)
		if d <= 2 || d <= len(name)/3 || (len(name) > 2 && strings.HasPrefix(e.Name, name)) {
			found = append(found, candidate{e.Name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range found[:min(3, len(found))] {
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
