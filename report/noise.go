package report

import (
	"fmt"

	"assay"
)

// noiseOf returns what the diffs that a grade judged, or all of the cell, left out.
func noiseOf(c *assay.Cell, g assay.Grade) (list []assay.Noise) {
	for _, diff := range c.Diffs {
		if g.Diff == 0 || diff.ID == g.Diff {
			list = append(list, diff.Noise...)
		}
	}
	return list
}

// leftOut says in words how much was left out.
func leftOut(n int) string {
	if n == 1 {
		return "1 change left out: machines of this image make it by themselves"
	}
	return fmt.Sprintf("%d changes left out: machines of this image make them by themselves", n)
}

// noiseShown bounds the changes that a report says were left out. All are in the
// JSON report.
const noiseShown = 50

// noise writes what was left out, and how often placebos made the same.
func (d *document) noise(c *assay.Cell, g assay.Grade) {
	list := noiseOf(c, g)
	if len(list) == 0 {
		return
	}
	d.below("Noise", func() {
		d.line("%s.", leftOut(len(list)))
		var lines []string
		for _, n := range list[:min(len(list), noiseShown)] {
			lines = append(lines, fmt.Sprintf("%s (in %d of %d placebos)", code(fmt.Sprintf("%s %s %s", n.Op, n.Kind, n.Key)), n.Seen, n.Of))
		}
		if more := len(list) - noiseShown; more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more", more))
		}
		d.list(lines)
	})
}

// noise writes a line about what a cell's diffs left out.
func (s *summary) noise(c *assay.Cell) {
	if n := len(noiseOf(c, assay.Grade{})); n > 0 {
		s.line(4, piece{dim, leftOut(n)})
	}
}
