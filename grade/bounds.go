package grade

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of one judgement. A hostile guest or script can reach them and
// gets no further.
const (
	maxChanges  = 200_000   // that rules look at; more are a finding of their own
	minSteps    = 2_000_000 // Starlark steps of one rule or module
	changeSteps = 500       // and for each change, of one rule
	maxFindings = 20        // of one rule
	maxEvidence = 100       // rows that a finding keeps; its points count all
	maxMessage  = 500       // bytes of a message, a recommendation
	maxDetail   = 200       // bytes of the detail of one row
	maxKey      = 4096      // bytes of a key: a path's longest
	maxMatches  = 1000      // of one grep
	maxPattern  = 1000      // bytes of a regular expression
)

// oneLine returns s on one line, without control characters, at most limit bytes.
func oneLine(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		if b.Len() > limit {
			break
		}
	}
	return cut(b.String(), limit)
}

// cut returns s, or its beginning and "…" in at most limit bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len("…")]
	for !utf8.ValidString(s) && s != "" {
		s = s[:len(s)-1]
	}
	return s + "…"
}
