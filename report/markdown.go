package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"assay"
)

// Markdown writes a run as a report in Markdown: a matrix when there are several
// cells, then each cell with its environment, what it did, what it changed, the
// assessments, recommendations and the grade.
func Markdown(w io.Writer, run assay.Run) error {
	d := &document{level: 1}
	d.heading("VM Isolation Test Report: " + prose(title(run)))
	if len(run.Cells) == 1 {
		d.cell(run.Cells[0])
	} else {
		d.overview(run)
		for _, c := range run.Cells {
			d.below("", func() { d.cellWithTitle(c) })
		}
	}
	d.origin(run)
	_, err := w.Write(d.text.Bytes())
	return err
}

// title names what a run is about: its subjects or, without any, its scripts.
func title(run assay.Run) string {
	var names []string
	for _, c := range run.Cells {
		names = append(names, subjects(c)...)
	}
	if len(names) == 0 {
		for _, c := range run.Cells {
			names = append(names, c.Script)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return run.ID
	}
	return strings.Join(names, ", ")
}

// A document is Markdown that is being written. level is the depth of the next
// heading.
type document struct {
	text  bytes.Buffer
	level int
	fresh int // where the text of the last heading ended
}

// line writes one line of Markdown.
func (d *document) line(format string, args ...any) { fmt.Fprintf(&d.text, format+"\n", args...) }

// heading writes a heading with an empty line before it, but not at the top.
func (d *document) heading(text string) {
	if d.text.Len() > 0 {
		d.line("")
	}
	d.line("%s %s", strings.Repeat("#", min(d.level, 6)), text)
	d.fresh = d.text.Len()
}

// gap writes an empty line, but not below a heading.
func (d *document) gap() {
	if d.text.Len() > d.fresh {
		d.line("")
	}
}

// below writes a part one level deeper, under a heading when it has one.
func (d *document) below(heading string, part func()) {
	d.level++
	if heading != "" {
		d.heading(heading)
	}
	part()
	d.level--
}

// pair writes a name and its value. The two blanks end the line in the rendered
// text too.
func (d *document) pair(name, format string, args ...any) {
	d.line("**%s**: %s  ", name, fmt.Sprintf(format, args...))
}

// list writes at most listLimit lines and says how many there were more.
func (d *document) list(lines []string) {
	for i, l := range lines {
		if i == listLimit {
			d.line("- … and %d more", len(lines)-i)
			break
		}
		d.line("- %s", l)
	}
}

// listLimit bounds a list. All of it is in the JSON report.
const listLimit = 60

// overview writes what a run of several cells came to.
func (d *document) overview(run assay.Run) {
	d.line("")
	d.pair("Verdict", "%s %s", icons[run.Verdict], tally(run))
	d.pair("Duration", "%s", seconds(run.Seconds))
	if m := newMatrix(run); len(m.rows) > 0 {
		d.below("Matrix", func() { d.matrix(m) })
	}
}

// matrix writes tests × images as a table.
func (d *document) matrix(m matrix) {
	head, rule := []string{"Test"}, []string{"---"}
	for _, image := range m.images {
		head, rule = append(head, tableCode(image)), append(rule, "---")
	}
	d.line("| %s |", strings.Join(head, " | "))
	d.line("| %s |", strings.Join(rule, " | "))
	for _, row := range m.rows {
		line := []string{tableCode(row.name)}
		for _, image := range m.images {
			line = append(line, cmp.Or(strings.Join(row.cells[image], ", "), "–"))
		}
		d.line("| %s |", strings.Join(line, " | "))
	}
}

// tally counts a run's cells by verdict: 2 cells: 1 pass, 1 fail.
func tally(run assay.Run) string {
	n := map[assay.Verdict]int{}
	for _, c := range run.Cells {
		n[c.Verdict]++
	}
	var parts []string
	for _, v := range []assay.Verdict{assay.Pass, assay.Warn, assay.Fail, assay.Error, assay.Skip} {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
			delete(n, v)
		}
	}
	open := 0
	for _, more := range n {
		open += more
	}
	if open > 0 {
		parts = append(parts, fmt.Sprintf("%d not finished", open))
	}
	if len(parts) == 0 {
		return "no cells: nothing ran"
	}
	return count(len(run.Cells), "cell") + ": " + strings.Join(parts, ", ")
}

// origin writes how the report came about.
func (d *document) origin(run assay.Run) {
	d.line("")
	d.line("---")
	d.line("")
	command := "" // a run that was restored from elsewhere may have none
	if len(run.Command) > 0 {
		command = " by " + code(strings.Join(run.Command, " "))
	}
	d.line("Run %s, %s%s, assay %s on %s (%s, %s, %s).", code(run.ID), run.Started.UTC().Format("2006-01-02 15:04:05 UTC"), command,
		prose(run.Version), prose(run.Host.Name), prose(run.Host.OS), prose(run.Host.Arch), count(run.Host.CPUs, "CPU"))
}
