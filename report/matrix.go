package report

import (
	"fmt"
	"slices"
	"strings"

	"assay"
)

// A matrix is what became of each test on each image.
type matrix struct {
	images []string // in version order
	rows   []matrixRow
}

// A matrixRow is one test of one subject.
type matrixRow struct {
	name  string
	cells map[string][]string // by image: ✅ A 98
}

// newMatrix lays out the cells of a run. Rows are in the order of the cells.
func newMatrix(run assay.Run) matrix {
	m := matrix{images: imagesOf(run)}
	var order []string
	groups := map[string][]*assay.Cell{}
	for _, c := range run.Cells {
		// The parameters tell subjects apart also where a cell broke before it was graded.
		key := fmt.Sprintf("%q %v", []string{test(c), c.Driver, c.Variant}, c.Params)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], c)
	}
	for _, key := range order {
		m.rows = append(m.rows, rowsOf(groups[key])...)
	}
	return m
}

// rowsOf makes the rows of the cells of one test: one for each subject.
func rowsOf(cells []*assay.Cell) (rows []matrixRow) {
	var names []string
	for _, c := range cells {
		names = append(names, subjects(c)...)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		row := matrixRow{name: strings.TrimSpace(test(cells[0]) + " " + cells[0].Driver + " " + cells[0].Variant), cells: map[string][]string{}}
		if name != "" {
			row.name = name + ": " + row.name
		}
		for _, c := range cells {
			row.cells[c.Image] = append(row.cells[c.Image], results(c, name)...)
		}
		rows = append(rows, row)
	}
	return rows
}

// results returns what a cell says about a subject: its grades, or, when it
// came to none at all, its verdict.
func results(c *assay.Cell, subject string) (list []string) {
	for _, g := range c.Grades {
		if g.Subject == subject {
			list = append(list, icons[g.Verdict]+" "+prose(g.Letter)+" "+points(g.Score))
		}
	}
	if len(c.Grades) == 0 {
		list = append(list, icons[c.Verdict]+" "+prose(string(c.Verdict)))
	}
	return list
}

// imagesOf returns the images of a run in the order of OS and version.
func imagesOf(run assay.Run) (images []string) {
	keys := map[string]string{}
	for _, c := range run.Cells {
		key := assay.VersionKey(c.Image)
		if len(c.Machines) > 0 && c.Machines[0].OS.ID != "" {
			key = c.Machines[0].OS.ID + "-" + c.Machines[0].OS.Key
		}
		if keys[c.Image] == "" {
			images = append(images, c.Image)
		}
		keys[c.Image] = key
	}
	slices.SortFunc(images, func(a, b string) int { return strings.Compare(keys[a]+" "+a, keys[b]+" "+b) })
	return images
}
