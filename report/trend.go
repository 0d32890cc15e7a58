package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"assay"
)

// bars are the heights of a sparkline.
var bars = []rune("▁▂▃▄▅▆▇█")

// Trend writes a trend as a table: a row for each test, a column for each OS
// version, and in each cell the newest value, how it changed, and a sparkline of
// the last runs, oldest first. A dot is a run without a value.
func Trend(w io.Writer, t assay.Trend, width int, colour bool) error {
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintln(w, `nothing to show: no finished cell matches; "assay history" lists the runs`)
		return err
	}
	g := trendGrid(t, sparkLongest)
	for n := sparkLongest - 1; n >= sparkShortest && width > 0 && lineWidth(g.widths()) > width; n-- {
		g = trendGrid(t, n)
	}
	return g.write(w, width, newPalette(colour))
}

// How many runs a sparkline shows: fewer when the terminal is narrow.
const (
	sparkLongest  = 40
	sparkShortest = 4
)

// trendGrid lays out a trend with sparklines of at most n runs.
func trendGrid(t assay.Trend, n int) grid {
	g := grid{head: []string{strings.ToUpper(t.By)}, right: make([]bool, len(t.Columns)+1)}
	for _, c := range t.Columns {
		g.head = append(g.head, clean(strings.TrimSpace(c.OS+" "+c.Version), cellLimit))
	}
	names := rowNames(t)
	var paints [][]paint
	for i, row := range t.Rows {
		line, colours := []string{names[i]}, []paint{""}
		low, high := span(row)
		for _, cell := range row.Cells {
			text, c := trendCell(t, cell, low, high, n)
			line, colours = append(line, text), append(colours, c)
		}
		g.rows, paints = append(g.rows, line), append(paints, colours)
	}
	g.paint = func(row, column int, _ string) paint { return paints[row][column] }
	return g
}

// rowNames names the rows by what tells them apart.
func rowNames(t assay.Trend) (names []string) {
	drivers := map[string]bool{}
	for _, r := range t.Rows {
		drivers[r.Driver+"/"+r.Arch] = true
	}
	for _, r := range t.Rows {
		parts := []string{r.Script}
		if r.Test != "" {
			parts[0] += ":" + r.Test
		}
		if r.Variant != "" {
			parts[0] += "[" + r.Variant + "]"
		}
		for _, more := range []string{r.Subject, r.Name, r.Place} {
			if more != "" {
				parts = append(parts, more)
			}
		}
		if len(drivers) > 1 {
			parts = append(parts, r.Driver+"/"+r.Arch)
		}
		names = append(names, clean(strings.Join(parts, "  "), cellLimit))
	}
	return names
}

// span returns the lowest and the highest known value of a row.
func span(row assay.TrendRow) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, c := range row.Cells {
		for _, p := range c.Points {
			if p.Known {
				low, high = min(low, p.Value), max(high, p.Value)
			}
		}
	}
	return low, high
}

// trendCell returns what stands in one cell: B 86.5 +2 ▅▆▇.
func trendCell(t assay.Trend, c assay.TrendCell, low, high float64, n int) (string, paint) {
	last, ok := c.Last()
	if !ok {
		return "–", dim
	}
	parts, colour := []string{trendValue(t, last)}, letterPaint[last.Letter]
	if !last.Known || last.Letter == "" {
		colour = verdictPaint[last.Verdict]
	}
	if d, ok := c.Delta(); ok && last.Known {
		parts = append(parts, trendDelta(t, last.Value, d)...)
	}
	return strings.Join(append(parts, spark(c.Points[max(0, len(c.Points)-n):], low, high)), " "), colour
}

// trendDelta returns how the newest value changed, if that is worth a word:
// by metric in per cent, because each has a unit of its own.
func trendDelta(t assay.Trend, value, delta float64) []string {
	if before := value - delta; t.By == "metric" && before != 0 {
		delta = delta / math.Abs(before) * 100
	}
	switch {
	case t.Metric == "letter", math.Abs(delta) < 0.05, t.By == "metric" && math.Abs(delta) < 0.5:
		return nil
	case t.By == "metric":
		return []string{signed(math.Round(delta)) + "%"}
	}
	return []string{signed(delta)}
}

// trendValue returns the newest value in the words of its metric.
func trendValue(t assay.Trend, p assay.TrendPoint) string {
	metric := t.Metric
	switch {
	case !p.Known:
		return clean(string(p.Verdict), 20)
	case t.By == "metric":
		return threeDigits(p.Value)
	case metric == "letter" && p.Letter != "":
		return clean(p.Letter, 4)
	case metric == "letter":
		return clean(string(p.Verdict), 20)
	case metric == "seconds", metric == "boot":
		return points(p.Value) + "s"
	case metric == "score" && p.Letter != "":
		return clean(p.Letter, 4) + " " + points(p.Value)
	}
	return points(p.Value)
}

// threeDigits writes a number whose size is not known beforehand.
func threeDigits(f float64) string {
	if math.Abs(f) >= 100 {
		return number(math.Round(f))
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

// signed returns a difference with its sign.
func signed(d float64) string {
	if d > 0 {
		return "+" + points(d)
	}
	return points(d)
}

// spark draws the points between low and high.
func spark(list []assay.TrendPoint, low, high float64) string {
	var b strings.Builder
	for _, p := range list {
		switch {
		case !p.Known:
			b.WriteRune('·')
		case high <= low:
			b.WriteRune(bars[len(bars)/2])
		default:
			at := (p.Value - low) / (high - low) * float64(len(bars)-1)
			b.WriteRune(bars[min(max(int(math.Round(at)), 0), len(bars)-1)])
		}
	}
	return b.String()
}
