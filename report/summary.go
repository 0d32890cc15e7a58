package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"assay"
	"assay/capture"
)

// Summary writes what a terminal shows at the end of a run: for each cell its
// verdict, grades and findings, the worst first, for a failure what to do, and
// the totals at the end. Lines are cut at width columns; 0 cuts nothing.
func Summary(w io.Writer, run assay.Run, width int, colour bool) error {
	s := &summary{width: width, palette: newPalette(colour)}
	for _, c := range run.Cells {
		s.cell(c)
	}
	total := tally(run)
	if run.Verdict == "" {
		total += ", still running"
	}
	s.line(0, piece{bold, total}, piece{"", "in " + seconds(run.Seconds)})
	s.line(0, piece{dim, "run " + run.ID})
	_, err := io.WriteString(w, s.text.String())
	return err
}

// A summary is the text of Summary while it is written.
type summary struct {
	text    strings.Builder
	width   int
	palette palette
}

// A piece is a part of a line and how it is painted.
type piece struct {
	paint paint
	text  string
}

// line writes pieces with a blank between them, cut at the width.
func (s *summary) line(indent int, pieces ...piece) {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", indent))
	left := s.width - indent
	for i, p := range pieces {
		text := clean(p.text, 4*cellLimit)
		if i > 0 {
			b.WriteString(" ")
			left--
		}
		if s.width > 0 && left <= 0 {
			break
		}
		if s.width > 0 {
			text = fit(text, left)
		}
		left -= textWidth(text)
		b.WriteString(s.palette.text(p.paint, text))
	}
	s.text.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}

// wrap writes text on as many lines as it needs, up to wrapLines.
func (s *summary) wrap(indent int, paint paint, text string) {
	line, lines := "", 0
	for _, word := range strings.Fields(clean(text, 4*cellLimit)) {
		if s.width > 0 && line != "" && indent+textWidth(line)+1+textWidth(word) > s.width {
			s.line(indent, piece{paint, line})
			if line, lines = "", lines+1; lines == wrapLines {
				return
			}
		}
		line = strings.TrimSpace(line + " " + word)
	}
	s.line(indent, piece{paint, line})
}

// wrapLines bounds one message.
const wrapLines = 12

// signs stand before a cell, a letter wide on every terminal.
var signs = map[assay.Verdict]string{assay.Pass: "✓", assay.Warn: "▲", assay.Fail: "✗", assay.Error: "!", assay.Skip: "-", "": "…"}

// cell writes one cell.
func (s *summary) cell(c *assay.Cell) {
	verdict := strings.ToUpper(string(c.Verdict))
	if c.Verdict == "" {
		verdict = "OPEN"
	}
	s.line(0, piece{verdictPaint[c.Verdict], signs[c.Verdict] + " " + pad(verdict, 5, false)}, piece{bold, test(c)},
		piece{"", "on " + place(c)}, piece{dim, "(" + seconds(c.Seconds) + ")"})
	s.failure(c)
	for _, g := range c.Grades {
		s.grade(g)
	}
	s.noise(c)
}

// failure writes why a cell did not pass, and what to do.
func (s *summary) failure(c *assay.Cell) {
	f := c.Failure
	if f == nil {
		return
	}
	s.wrap(4, verdictPaint[c.Verdict], kindWords(f.Kind)+": "+f.Message)
	if f.Position != "" {
		s.line(4, piece{dim, "at " + f.Position})
	}
	if a := adviceOn(f); a != "" {
		s.wrap(4, "", "→ "+a)
	}
	for _, text := range []string{f.Backtrace, f.Detail} {
		s.tail(text)
	}
}

// tailLines is how many lines of a backtrace or a console are shown.
const tailLines = 12

// tail writes the last lines of text.
func (s *summary) tail(text string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if text == "" {
		return
	}
	for _, l := range lines[max(0, len(lines)-tailLines):] {
		s.line(6, piece{dim, strings.ReplaceAll(strings.TrimRight(l, "\r"), "\t", "    ")})
	}
}

// grade writes the letter, the axes and the findings of a grade.
func (s *summary) grade(g assay.Grade) {
	s.line(4, piece{letterPaint[g.Letter], "grade " + g.Letter}, piece{"", points(g.Score) + "/100"}, piece{bold, g.Subject}, piece{dim, axisLine(g)})
	list := slices.Clone(g.Findings)
	slices.SortStableFunc(list, func(a, b assay.Finding) int { return a.Severity.Rank() - b.Severity.Rank() })
	for _, f := range list {
		s.finding(f)
	}
	for _, c := range g.Caps {
		s.line(6, piece{dim, "cap: " + c})
	}
}

// axisLine lists the axes and their scores.
func axisLine(g assay.Grade) string {
	var parts []string
	for _, a := range g.Axes {
		parts = append(parts, a.Name+" "+points(a.Score))
	}
	return strings.Join(parts, " · ")
}

// finding writes one finding and where it is.
func (s *summary) finding(f assay.Finding) {
	severity := pad(string(f.Severity), 8, false)
	if f.Waived != nil {
		s.line(6, piece{dim, pad("waived", 8, false)}, piece{dim, f.Message}, piece{dim, "(" + f.Waived.Reason + ")"})
		return
	}
	line := []piece{{severityPaint[f.Severity], severity}, {"", f.Message}}
	if where := location(f); where != "" {
		line = append(line, piece{dim, "(" + where + ")"})
	}
	s.line(6, line...)
}

// location names the first evidence of a finding, and how much more there is;
// nothing when the message names it already.
func location(f assay.Finding) string {
	if len(f.Evidence) == 0 {
		return ""
	}
	e := f.Evidence[0]
	text := e.Key
	switch e.Kind {
	case "exec":
		text = "step " + e.Key
	case capture.Process:
		_, text, _ = strings.Cut(e.Key, ": ") // without the user
	}
	if strings.Contains(f.Message, text) {
		return ""
	}
	if n := len(f.Evidence) - 1; n > 0 {
		return fmt.Sprintf("%s and %d more", text, n)
	}
	return text
}
