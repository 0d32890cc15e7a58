package report

import (
	"os"

	"assay"
)

// A palette paints text for a terminal. The zero palette paints nothing.
type palette struct{ on bool }

// newPalette paints when colour is set and the user did not say NO_COLOR.
func newPalette(colour bool) palette { return palette{colour && os.Getenv("NO_COLOR") == ""} }

// A paint is what stands between ESC [ and m.
type paint string

const (
	bold   paint = "1"
	dim    paint = "2"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
	purple paint = "35"
)

// text returns s painted.
func (p palette) text(c paint, s string) string {
	if !p.on || c == "" || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// verdictPaint, severityPaint and letterPaint say what is good and what is bad.
var (
	verdictPaint  = map[assay.Verdict]paint{assay.Pass: green, assay.Warn: yellow, assay.Fail: red, assay.Error: purple, assay.Skip: dim}
	severityPaint = map[assay.Severity]paint{assay.Critical: red, assay.High: red, assay.Medium: yellow, assay.Low: dim, assay.Info: dim}
	letterPaint   = map[string]paint{"A": green, "B": green, "C": yellow, "D": red, "F": red, "-": dim}
)
