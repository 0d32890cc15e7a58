package grade

import (
	"regexp"

	"go.starlark.net/starlark"
)

// patternsKey names the patterns that a thread has compiled: rules ask the same
// one of many changes.
const patternsKey = "assay.patterns"

// maxPatterns is how many patterns a thread keeps.
const maxPatterns = 500

// compile compiles an RE2 pattern.
func (c *call) compile(pattern string) (*regexp.Regexp, error) {
	known := patterns(c.thread)
	if re := known[pattern]; re != nil {
		return re, nil
	}
	if len(pattern) > maxPattern {
		return nil, c.errorf("for parameter pattern: got %d bytes, want at most %d", len(pattern), maxPattern)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, c.errorf("for parameter pattern: %w", err)
	}
	if len(known) < maxPatterns {
		known[pattern] = re
	}
	return re, nil
}

func patterns(t *starlark.Thread) map[string]*regexp.Regexp {
	known, ok := t.Local(patternsKey).(map[string]*regexp.Regexp)
	if !ok {
		known = map[string]*regexp.Regexp{}
		t.SetLocal(patternsKey, known)
	}
	return known
}
