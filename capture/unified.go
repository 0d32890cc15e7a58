package capture

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a text diff: a guest chooses the texts.
const (
	context3   = 3        // unchanged lines around a change
	maxEdits   = 1000     // past it the changed middle is shown as replaced
	maxUnified = 64 << 10 // bytes of one diff
	maxShown   = 1000     // bytes of one line
)

// unified returns the unified diff of two texts, for people to read: control
// characters are escaped, long lines and long diffs are cut and say so.
func unified(beforeName, afterName, before, after string) string {
	a, b := splitLines(before), splitLines(after)
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", beforeName, afterName)
	for _, h := range hunks(edits(a, b)) {
		var part strings.Builder
		h.write(&part, a, b)
		if out.Len()+part.Len() > maxUnified {
			out.WriteString(cut(part.String(), max(8, maxUnified-out.Len())))
			out.WriteString("\n… the rest is left out\n")
			break
		}
		out.WriteString(part.String())
	}
	return out.String()
}

// noNewline marks a last line without an end, as every diff does.
const noNewline = "\n\\ No newline at end of file"

// splitLines returns the lines without their ends.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	if rest, ok := strings.CutSuffix(s, "\n"); ok {
		return strings.Split(rest, "\n")
	}
	l := strings.Split(s, "\n")
	l[len(l)-1] += noNewline
	return l
}

// edit says that lines a0 to a1 of one text became b0 to b1 of the other.
type edit struct{ a0, a1, b0, b1 int }

// edits returns the differences between two lists of lines, in order.
func edits(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	middle := myers(a[head:len(a)-tail], b[head:len(b)-tail])
	for i := range middle {
		e := &middle[i]
		*e = edit{e.a0 + head, e.a1 + head, e.b0 + head, e.b1 + head}
	}
	return middle
}

// myers finds the shortest list of edits (E. Myers, An O(ND) Difference
// Algorithm, 1986), or one edit of everything when it is longer than maxEdits.
func myers(a, b []string) []edit {
	if len(a) == 0 && len(b) == 0 {
		return nil
	}
	whole := []edit{{0, len(a), 0, len(b)}}
	if len(a) == 0 || len(b) == 0 {
		return whole
	}
	limit := min(len(a)+len(b), maxEdits)
	v := make([]int, 2*limit+3) // v[limit+1+k] is the furthest x on diagonal k
	var trace [][]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, append([]int(nil), v[limit-d:limit+d+3]...))
		for k := -d; k <= d; k += 2 {
			x := v[limit+1+k-1] + 1
			if k == -d || k != d && v[limit+1+k-1] < v[limit+1+k+1] {
				x = v[limit+1+k+1]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			v[limit+1+k] = x
			if x >= len(a) && x-k >= len(b) {
				return backtrack(trace, len(a), len(b))
			}
		}
	}
	return whole
}

// backtrack walks from the end back along the furthest points. trace[d] holds
// those of diagonals -d-1 to d+1 before step d.
func backtrack(trace [][]int, x, y int) []edit {
	var out []edit
	for d := len(trace) - 1; d > 0; d-- {
		v, k := trace[d], x-y
		at := func(k int) int { return v[k+d+1] }
		prev := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			prev = k + 1
		}
		px := at(prev)
		py := px - prev
		if prev < k {
			out = prepend(out, edit{px, px + 1, py, py})
		} else {
			out = prepend(out, edit{px, px, py, py + 1})
		}
		x, y = px, py
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// prepend adds an edit that comes before the last one found, joining neighbours.
func prepend(out []edit, e edit) []edit {
	if n := len(out); n > 0 && out[n-1].a0 == e.a1 && out[n-1].b0 == e.b1 {
		out[n-1].a0, out[n-1].b0 = e.a0, e.b0
		return out
	}
	return append(out, e)
}

// hunk is a run of edits that share their context.
type hunk []edit

func hunks(es []edit) []hunk {
	var out []hunk
	for _, e := range es {
		if n := len(out); n > 0 && e.a0-out[n-1][len(out[n-1])-1].a1 <= 2*context3 {
			out[n-1] = append(out[n-1], e)
			continue
		}
		out = append(out, hunk{e})
	}
	return out
}

func (h hunk) write(out *strings.Builder, a, b []string) {
	first, last := h[0], h[len(h)-1]
	from := max(0, first.a0-context3)
	to := min(len(a), last.a1+context3)
	b0, b1 := first.b0-(first.a0-from), last.b1+(to-last.a1)
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(from, to), span(b0, b1))
	at := from
	for _, e := range h {
		put(out, ' ', a[at:e.a0])
		put(out, '-', a[e.a0:e.a1])
		put(out, '+', b[e.b0:e.b1])
		at = e.a1
	}
	put(out, ' ', a[at:to])
}

// span is how unified diffs count: from 1, and an empty span names the line before it.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func put(out *strings.Builder, mark byte, ls []string) {
	for _, l := range ls {
		text, open := strings.CutSuffix(l, noNewline)
		out.WriteByte(mark)
		visible(out, cut(text, maxShown))
		if open {
			out.WriteString(noNewline)
		}
		out.WriteByte('\n')
		if out.Len() > maxUnified {
			return
		}
	}
}

// visible writes s with its control characters escaped; unlike Escape it leaves
// tabs and backslashes as they are, because people read this and nobody undoes it.
func visible(out *strings.Builder, s string) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == '\t' || r == '\\' {
			out.WriteRune(r)
		} else {
			escapeRune(out, r, s[i:i+n])
		}
		i += n
	}
}
