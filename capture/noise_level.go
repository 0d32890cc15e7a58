package capture

import (
	"regexp"
	"strings"
)

// What a program makes up anew each time, and nothing else, is levelled out of
// keys: a subject must not be able to hide by a name that is merely like one.
var (
	longHex   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,64}`)
	machineID = regexp.MustCompile(`[0-9a-f]{32}`)
	numbers   = regexp.MustCompile(`[0-9]{3,}`)
	lastWord  = regexp.MustCompile(`[-.][0-9A-Za-z]+(/|$)`) // of a path's part
)

// randomSizes are the lengths of the endings that mkstemp and its like make up.
var randomSizes = map[int]bool{6: true, 8: true, 10: true}

// levelKey levels out uuids and long hexadecimal numbers, numbers of at least
// three digits, and random endings of names (tmp.Ab3dE9). Different lengths of
// hexadecimal numbers stay different.
func levelKey(key string) string {
	key = longHex.ReplaceAllStringFunc(key, func(s string) string {
		if !strings.ContainsAny(s, "0123456789") {
			return s
		}
		return "<hex" + decimal(len(s)) + ">"
	})
	key = lastWord.ReplaceAllStringFunc(key, levelEnding)
	return numbers.ReplaceAllString(key, "#")
}

// levelIDs levels out machine ids only.
func levelIDs(key string) string { return machineID.ReplaceAllString(key, "<id>") }

// levelEnding levels "-Ab3dE9/" out if it looks made up: capitals or digits among
// small letters, in one of the usual lengths.
func levelEnding(s string) string {
	word := strings.TrimSuffix(s[1:], "/")
	mixed := strings.ContainsAny(word, "abcdefghijklmnopqrstuvwxyz") &&
		strings.ContainsAny(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") || strings.ContainsAny(word, "0123456789") && strings.ToUpper(word) == word && strings.ContainsAny(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if !randomSizes[len(word)] || !mixed {
		return s
	}
	return s[:1] + "<random>" + s[1+len(word):]
}

// Moments as programs write them into logs.
var moments = regexp.MustCompile(`(?:` +
	`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?: ?(?:Z|[A-Z]{3,4}|[+-]\d\d:?\d\d))?` + // 2026-11-23T16:12:01.5+00:00
	`|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:\d{1,2} )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(?:\d{1,2} +)?\d\d:\d\d:\d\d(?: [A-Z]{3,4})?(?: \d{4})?` + // Mon Nov 23 16:12:01 UTC 2026
	`|\d{4}-\d\d-\d\d` + // 2026-11-23
	`)`)

var (
	counters = regexp.MustCompile(`(^|[^.0-9])[0-9]+([^.0-9]|\.?$|\. )`) // not the parts of an address or a version
	syslog   = regexp.MustCompile(`^[ +-]?<time> \S+ `)                  // the machine's name
)

// levelLine levels out what differs from one time to the next in a line that
// bears a moment: moments, counters, ids, and the machine's name. A line without
// a moment is not a log's: every digit of it counts.
func levelLine(line string) string {
	timed := moments.ReplaceAllString(line, "<time>")
	if timed == line {
		return line
	}
	timed = longHex.ReplaceAllString(timed, "<hex>")
	timed = syslog.ReplaceAllStringFunc(timed, func(s string) string { return s[:strings.Index(s, "> ")+2] + "<host> " })
	for range 2 { // neighbours share the character between them
		timed = counters.ReplaceAllString(timed, "$1#$2")
	}
	return timed
}
