package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"assay"
)

// icons mark a verdict in a report that is read in a browser.
var icons = map[assay.Verdict]string{
	assay.Pass: "✅", assay.Warn: "⚠️", assay.Fail: "❌", assay.Error: "⛔", assay.Skip: "⏭️", "": "⏳",
}

// letters say in words what a letter means.
var letters = map[string]string{
	"A": "READY",
	"B": "READY with minor fixes",
	"C": "NEEDS WORK",
	"D": "NOT READY",
	"F": "NOT SAFE",
	"-": "NOT GRADED, the run did not finish",
}

// seconds returns a duration as people say it: 0.4 seconds, 45 seconds, 2 minutes 5 seconds.
func seconds(s float64) string {
	switch {
	case s < 9.95:
		return number(math.Round(s*10)/10) + plural(s, " second")
	case s < 119.5:
		return number(math.Round(s)) + " seconds"
	}
	whole := int(math.Min(math.Round(s), 1e12))
	return count(whole/60, "minute") + " " + count(whole%60, "second")
}

// plural returns word with an s, unless n is one.
func plural(n float64, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// count returns a number of things: 1 file, 2 files.
func count(n int, word string) string { return fmt.Sprint(n) + " " + plural(float64(n), word) }

// number returns a number without needless zeros: 85, 85.5.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// points returns a score with at most one decimal.
func points(f float64) string { return number(math.Round(f*10) / 10) }

// size returns a number of bytes as people say it: 512B, 15KB, 2GB.
func size(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	f, i := float64(n), 0
	for f >= 1023.5 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if f < 9.95 && i > 0 {
		return points(f) + units[i]
	}
	return number(math.Round(f)) + units[i]
}

// short returns the first twelve digits of a digest.
func short(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return prose(digest[:min(12, len(digest))])
}

// test returns what a cell runs: the script and, when it has one, the function.
func test(c *assay.Cell) string {
	if c.Test == "" {
		return c.Script
	}
	return c.Script + ":" + c.Test
}

// place returns where a cell runs: image, driver and variant.
func place(c *assay.Cell) string {
	text := c.Image + "/" + c.Driver
	if c.Variant != "" {
		text += " [" + c.Variant + "]"
	}
	return text
}

// subjects returns the names of what a cell judged, each once.
func subjects(c *assay.Cell) []string {
	var names []string
	seen := map[string]bool{}
	for _, g := range c.Grades {
		if !seen[g.Subject] {
			seen[g.Subject] = true
			names = append(names, g.Subject)
		}
	}
	return names
}

// advice says what to do about a failure of a kind.
var advice = map[assay.FailureKind]string{
	assay.ScriptFailure:      `mend the script; "assay doc VERB" describes the verbs`,
	assay.InfraFailure:       `this is no verdict on the subject: look at the console, try "assay doctor", run again`,
	assay.InterruptedFailure: `run it again; what had finished is kept`,
	assay.StoppedFailure:     `mend what failed; "assay run --lf" runs that alone`,
}

// tooLarge is in what the engine says of a request that is larger than the host.
const tooLarge = `"assay run --fit"`

// adviceOn says what to do about a failure; "" if there is nothing to say.
func adviceOn(f *assay.Failure) string {
	if f.Kind == assay.InfraFailure && strings.Contains(f.Message, tooLarge) {
		return `this is no verdict on the subject: ask for less, or let ` + tooLarge + ` take what the host has`
	}
	return advice[f.Kind]
}

// kinds say in words whose doing a failure was.
var kinds = map[assay.FailureKind]string{
	assay.SubjectFailure:     "The subject fell short",
	assay.ScriptFailure:      "The script is wrong",
	assay.InfraFailure:       "Infrastructure error",
	assay.InterruptedFailure: "Interrupted",
	assay.StoppedFailure:     "Not started",
}
