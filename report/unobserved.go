package report

import (
	"fmt"
	"slices"

	"assay"
)

// unobservedShown bounds the problems that a report lists. All are in the JSON report.
const unobservedShown = 20

// unobserved writes what the captures of a cell could not see: a diff says nothing
// about it, and nobody shall take that for "unchanged".
func (d *document) unobserved(c *assay.Cell) {
	var problems []string
	for _, taken := range c.Captures {
		for _, p := range taken.Problems {
			if !slices.Contains(problems, p) {
				problems = append(problems, p)
			}
		}
	}
	if len(problems) == 0 {
		return
	}
	var lines []string
	for _, p := range problems[:min(len(problems), unobservedShown)] {
		lines = append(lines, code(p))
	}
	if more := len(problems) - unobservedShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	d.below("Not Observed", func() { d.list(lines) })
}
