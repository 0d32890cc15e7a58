package report

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// cellLimit bounds one value of a table; CSV and JSON have all of it.
const cellLimit = 200

// Table writes columns and rows of values (int64, float64, string, []byte, nil),
// aligned, numbers to the right. Lines are cut at width columns; 0 cuts nothing.
// Control characters are escaped.
func Table(w io.Writer, columns []string, rows [][]any, width int, colour bool) error {
	g := grid{head: make([]string, len(columns)), right: make([]bool, len(columns))}
	for i, c := range columns {
		g.head[i] = clean(c, cellLimit)
		g.right[i] = numeric(rows, i)
	}
	for _, row := range rows {
		line := make([]string, len(columns))
		for i := range min(len(row), len(columns)) {
			line[i] = clean(plain(row[i]), cellLimit)
		}
		g.rows = append(g.rows, line)
	}
	return g.write(w, width, newPalette(colour))
}

// numeric reports whether a column holds numbers alone.
func numeric(rows [][]any, column int) bool {
	some := false
	for _, row := range rows {
		if column >= len(row) {
			return false
		}
		switch row[column].(type) {
		case nil:
		case int64, float64:
			some = true
		default:
			return false
		}
	}
	return some
}

// plain returns a value as text; nil is empty, bytes that are no text are base64.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return number(v)
	case []byte:
		if utf8.Valid(v) {
			return string(v)
		}
		return base64.StdEncoding.EncodeToString(v)
	}
	return fmt.Sprint(v)
}

// A grid is a table of texts that are fit to print.
type grid struct {
	head  []string
	rows  [][]string
	right []bool                                   // by column: numbers
	paint func(row, column int, text string) paint // nil: none
}

// write lays the grid out.
func (g grid) write(w io.Writer, width int, p palette) error {
	out := bufio.NewWriter(w)
	widths := shrink(g.widths(), width)
	g.line(out, g.head, widths, width, func(_ int, text string) string { return p.text(bold, text) })
	rule := make([]string, len(widths))
	for i, n := range widths {
		rule[i] = strings.Repeat("─", n)
	}
	g.line(out, rule, widths, width, func(_ int, text string) string { return p.text(dim, text) })
	for i, row := range g.rows {
		g.line(out, row, widths, width, func(column int, text string) string {
			if g.paint == nil {
				return text
			}
			return p.text(g.paint(i, column, row[column]), text)
		})
	}
	return out.Flush()
}

// widths returns how wide each column must be.
func (g grid) widths() []int {
	widths := make([]int, len(g.head))
	for _, row := range append([][]string{g.head}, g.rows...) {
		for i, text := range row {
			widths[i] = max(widths[i], textWidth(text))
		}
	}
	return widths
}

// narrowest is how far a column is shrunk.
const narrowest = 8

// shrink takes columns off the widest until the lines fit into width, as far as
// that goes.
func shrink(widths []int, width int) []int {
	for width > 0 && lineWidth(widths) > width {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= narrowest {
			break
		}
		widths[widest]--
	}
	return widths
}

// lineWidth returns how wide a line is.
func lineWidth(widths []int) int {
	total := 2 * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	return total
}

// line writes one row, cut at width. Colours take no columns.
func (g grid) line(out *bufio.Writer, row []string, widths []int, width int, paint func(column int, text string) string) {
	var b strings.Builder
	left := width
	for i, text := range row {
		if i > 0 {
			b.WriteString("  ")
			left -= 2
		}
		cut := fit(text, widths[i])
		if last := i == len(row)-1; !last || g.right[i] {
			cut = pad(cut, widths[i], g.right[i])
		}
		if width > 0 && left < textWidth(cut) {
			if left > 0 {
				b.WriteString(paint(i, fit(cut, left)))
			}
			break
		}
		left -= textWidth(cut)
		b.WriteString(paint(i, cut))
	}
	out.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}

// CSV writes columns and rows as RFC 4180 says. nil is an empty field. A text
// that a spreadsheet would take for a formula keeps its bytes: the reader of a
// CSV file decides what it is.
func CSV(w io.Writer, columns []string, rows [][]any) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(columns); err != nil {
		return err
	}
	for _, row := range rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = plain(v)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// RowsJSON writes rows as a JSON array of objects, a line each, the keys in the
// order of the columns. A repeated column gets a number.
func RowsJSON(w io.Writer, columns []string, rows [][]any) error {
	out := bufio.NewWriter(w)
	keys := uniqueKeys(columns)
	out.WriteString("[")
	for i, row := range rows {
		if i > 0 {
			out.WriteString(",")
		}
		out.WriteString("\n{")
		for j, v := range row {
			text, err := json.Marshal(jsonValue(v))
			if err != nil {
				return fmt.Errorf("json: column %s: %w", columns[j], err)
			}
			if j > 0 {
				out.WriteString(",")
			}
			out.Write(keys[j])
			out.WriteString(":")
			out.Write(text)
		}
		out.WriteString("}")
	}
	out.WriteString("\n]\n")
	return out.Flush()
}

// uniqueKeys returns the columns as JSON strings, each of them once.
func uniqueKeys(columns []string) (keys [][]byte) {
	seen := map[string]int{}
	for _, c := range columns {
		name := c
		if seen[c]++; seen[c] > 1 {
			name = fmt.Sprintf("%s_%d", c, seen[c])
		}
		key, _ := json.Marshal(name) // a string can always be written
		keys = append(keys, key)
	}
	return keys
}

// jsonValue returns v as JSON can hold it: an infinite number as text.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float64:
		if v-v != 0 { // Inf or NaN
			return fmt.Sprint(v)
		}
	case []byte:
		return plain(v)
	}
	return v
}
