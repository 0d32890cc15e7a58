package assay

import (
	"fmt"
	"strings"
)

// verdictOrder is from best to worst. A skip is worse than a pass, because
// nothing was learnt, and better than a warning.
var verdictOrder = []Verdict{Pass, Skip, Warn, Fail, Error}

// Worst returns the worst of vs, and Skip for none: a run that did nothing did not pass.
func Worst(vs ...Verdict) Verdict {
	worst := -1
	for _, v := range vs {
		worst = max(worst, v.rank())
	}
	if worst < 0 {
		return Skip
	}
	return verdictOrder[worst]
}

// rank returns v's place in verdictOrder; an unknown word counts as Error.
func (v Verdict) rank() int {
	for i, w := range verdictOrder {
		if v == w {
			return i
		}
	}
	return len(verdictOrder) - 1
}

// VersionKey turns an OS version into a string that sorts as the versions do:
// "9" < "10" < "22.04", and "" sorts first. Each run of digits is padded to five.
func VersionKey(version string) string {
	var b strings.Builder
	digits := ""
	flush := func() {
		if digits != "" {
			fmt.Fprintf(&b, "%05s", digits)
			digits = ""
		}
	}
	for _, r := range version {
		if r >= '0' && r <= '9' {
			digits += string(r)
			continue
		}
		flush()
		b.WriteRune(r)
	}
	flush()
	return b.String()
}
