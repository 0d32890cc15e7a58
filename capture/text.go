package capture

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on what a hostile guest can make a capture hold.
const (
	maxRecords  = 2_000_000
	maxPath     = 4096     // bytes, as the guest's kernel has it
	maxKey      = 4 * 4096 // bytes, a path whose every byte is escaped
	maxAttr     = 8 << 20  // bytes of one attribute's value
	maxAttrs    = 512      // attributes of one record
	maxTotal    = 1 << 30  // bytes of all keys and attributes together
	maxProblems = 1000
	maxProblem  = 1024 // bytes of one problem
	maxWord     = 4096 // bytes of an attribute that is one line of a guest's text
)

// Escape makes any bytes readable, losslessly: control characters, bytes that are
// not UTF-8 and the backslash become \xNN, \n, \t, \\ and so on. What needs none is returned
// as it is.
func Escape(s string) string {
	if readable(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		escapeRune(&b, r, s[i:i+n])
		i += n
	}
	return b.String()
}

// readable reports whether s needs no escape.
func readable(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if r == '\\' || !printable(r) {
			return false
		}
	}
	return true
}

// printable reports whether r may stand in a line for people: marks that
// reorder text or have no width may not.
func printable(r rune) bool {
	return unicode.IsPrint(r)
}

func escapeRune(b *strings.Builder, r rune, raw string) {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case r == '\\':
		b.WriteString(`\\`)
	case printable(r):
		b.WriteRune(r)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// Unescape undoes Escape.
func Unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		r, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return "", fmt.Errorf("unescape: %q: %w", s, err)
		}
		if multibyte || r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		rest = tail
	}
	return b.String(), nil
}

// line makes one readable line of at most maxWord bytes out of a guest's text.
func line(s string) string {
	return cut(Escape(strings.TrimSpace(s)), maxWord)
}

// cut shortens s to at most n bytes, at a rune's edge, and says so.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const mark = "…"
	s = s[:n-len(mark)]
	for s != "" && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return strings.ToValidUTF8(s, "") + mark
}

// lines splits text into its lines, without comments and empty ones.
func lines(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "#") {
			out = append(out, l)
		}
	}
	return out
}

// attrs makes a record's attributes of name, value, name, value …, leaving out
// the empty ones.
func attrs(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}

func decimal[N int | int64 | uint32 | uint64](n N) string {
	if n < 0 {
		return strconv.FormatInt(int64(n), 10)
	}
	return strconv.FormatUint(uint64(n), 10)
}
