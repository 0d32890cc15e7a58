package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many characters of a guest's text are shown in one place.
const (
	codeLimit  = 300
	proseLimit = 600
	blockLimit = 60 // lines
)

// clean makes text harmless in a line: control characters, which a terminal
// would obey, and format characters, which turn text around or hide it, become
// visible escapes, and more than limit characters are cut.
func clean(text string, limit int) string {
	var b strings.Builder
	n := 0
	for i := 0; i < len(text); n++ {
		if n == limit {
			b.WriteString("…")
			break
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		b.WriteString(visible(r, text[i:i+size]))
		i += size
	}
	return b.String()
}

// visible returns r, or its escape when it cannot be seen. raw are its bytes.
func visible(r rune, raw string) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\t':
		return `\t`
	case r == utf8.RuneError && len(raw) <= 1, r < 0x100 && !unicode.IsGraphic(r):
		return fmt.Sprintf(`\x%02x`, raw[len(raw)-1])
	case !unicode.IsGraphic(r):
		return fmt.Sprintf(`\u{%x}`, r)
	}
	return raw
}

// code returns text as a Markdown code span that nothing in it can end.
func code(text string) string {
	text = clean(text, codeLimit)
	if text == "" {
		return "(none)"
	}
	mark := strings.Repeat("`", longestRun(text, '`')+1)
	if strings.Trim(text, "` ") != text {
		text = " " + text + " "
	}
	return mark + text + mark
}

// tableCode is code for a table, whose cells end at a bar even inside of code,
// unless a backslash stands before it.
func tableCode(text string) string { return strings.ReplaceAll(code(text), "|", `\|`) }

// longestRun returns the length of the longest run of c in text.
func longestRun(text string, c rune) int {
	longest, n := 0, 0
	for _, r := range text {
		if n++; r != c {
			n = 0
		}
		longest = max(longest, n)
	}
	return longest
}

// marks are the characters that mean something inside a line of Markdown.
const marks = "\\`*_[]<>&|~#$!@"

// prose returns text as Markdown that shows it as it is. It must not begin a
// line: there, more would have to be escaped.
func prose(text string) string {
	text = strings.TrimSpace(clean(text, proseLimit))
	var b strings.Builder
	for i, r := range text {
		rest := text[i:]
		link := strings.HasPrefix(rest, "://") || strings.HasPrefix(rest, ".") && strings.HasSuffix(strings.ToLower(text[:i]), "www")
		if strings.ContainsRune(marks, r) || link {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// block returns the last lines of text as a fenced block that nothing in it can end.
func block(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if cut := len(lines) - blockLimit; cut > 0 {
		lines = append([]string{fmt.Sprintf("… %d lines before", cut)}, lines[cut:]...)
	}
	for i := range lines {
		lines[i] = clean(strings.ReplaceAll(strings.TrimRight(lines[i], "\r"), "\t", "    "), codeLimit)
	}
	body := strings.Join(lines, "\n")
	mark := strings.Repeat("`", max(3, longestRun(body, '`')+1))
	return mark + "text\n" + body + "\n" + mark + "\n"
}
