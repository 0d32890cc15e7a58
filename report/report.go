// Package report turns a finished run into text: Markdown, JSON, a summary for
// a terminal, and tables.
//
// It knows the words of package assay and how to fold changes. It knows no
// database, no machine and no policy, and decides nothing: verdicts and grades
// are shown as they were given. All text from a guest is hostile: it is escaped
// and cut before it is shown. The same run always gives the same text.
package report

import (
	"io"

	"assay"
)

// A Format is one way to write a run down.
type Format struct {
	Name   string // markdown
	Ext    string // file name extension with its dot: .md
	Render func(io.Writer, assay.Run) error
}

// Formats returns all formats, in the order in which help shows them. A new one
// is its file, its golden and one line here.
func Formats() []Format {
	return []Format{
		{Name: "markdown", Ext: ".md", Render: Markdown},
		{Name: "json", Ext: ".json", Render: JSON},
	}
}
