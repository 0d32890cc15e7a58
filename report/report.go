// Package report turns a finished run into text: Markdown, JSON, a summary for
// a terminal, and tables.
//
// It knows the words of package assay and how to fold changes. It knows no
// database, no machine and no policy, and decides nothing: verdicts and grades
// are shown as they were given. All text from a guest is hostile and is escaped.
package report

import (
	"errors"
	"io"

	"assay"
)

// A Format is one way to write a run down.
type Format struct {
	Name   string // markdown
	Ext    string // file name extension with its dot: .md
	Render func(io.Writer, assay.Run) error
}

// Formats returns all formats, in the order in which help shows them.
func Formats() []Format { return nil }

// Summary writes what a terminal shows at the end of a run.
func Summary(w io.Writer, run assay.Run, width int, colour bool) error { return errors.ErrUnsupported }

// Table writes columns and rows of cells (int64, float64, string, []byte, nil) aligned.
func Table(w io.Writer, columns []string, rows [][]any, width int, colour bool) error {
	return errors.ErrUnsupported
}

// CSV writes columns and rows as RFC 4180 says.
func CSV(w io.Writer, columns []string, rows [][]any) error { return errors.ErrUnsupported }

// RowsJSON writes rows as a JSON array of objects.
func RowsJSON(w io.Writer, columns []string, rows [][]any) error { return errors.ErrUnsupported }

// Trend writes a trend as a table with sparklines.
func Trend(w io.Writer, t assay.Trend, width int, colour bool) error { return errors.ErrUnsupported }

// History writes a table of runs.
func History(w io.Writer, runs []assay.RunSummary, width int, colour bool) error {
	return errors.ErrUnsupported
}
