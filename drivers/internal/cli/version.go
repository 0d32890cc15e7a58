package cli

import (
	"fmt"
	"regexp"
	"strconv"
)

// A Version is the first two numbers of a tool's version, which say what it can.
type Version struct{ Major, Minor int }

var versionNumber = regexp.MustCompile(`(\d{1,5})\.(\d{1,5})[\w.+~-]*`)

// FindVersion returns the first version in a text, and how it is written there:
// "1.16.3+mac".
func FindVersion(text string) (v Version, written string, err error) {
	m := versionNumber.FindStringSubmatch(text)
	if m == nil {
		return v, "", fmt.Errorf("version: got %.80q, want numbers such as 1.16.3", text)
	}
	v.Major, _ = strconv.Atoi(m[1]) // five digits fit
	v.Minor, _ = strconv.Atoi(m[2])
	return v, m[0], nil
}

// AtLeast reports whether v is major.minor or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}
