package hyperv

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCmdlets compares what the scripts ask of Hyper-V with what its module has,
// by its documentation: no Windows is here to refuse a parameter.
func TestCmdlets(t *testing.T) {
	table, err := os.ReadFile("testdata/cmdlets.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{} // "Get-VM", "Get-VM -Name"; true: used
	for line := range strings.Lines(string(table)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			known[words[0]] = false
			for _, parameter := range words[1:] {
				known[words[0]+" "+parameter] = false
			}
		}
	}
	comment := regexp.MustCompile(`(?m)^\s*#.*$`)
	for verb := range verbs {
		text, err := script(verb, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range regexp.MustCompile(`[|;{}\n]`).Split(comment.ReplaceAllString(text, ""), -1) {
			for _, used := range calls(part) {
				if _, ok := known[used]; !ok {
					t.Errorf("%s: %s is not in the table: %s", verb, used, strings.TrimSpace(part))
				}
				known[used] = true
			}
		}
	}
	for entry, used := range known {
		if !used {
			t.Errorf("no script uses %s", entry)
		}
	}
}

var (
	inner     = regexp.MustCompile(`\([^()]*\)`)
	called    = regexp.MustCompile(`Hyper-V\\([A-Za-z-]+)`)
	parameter = regexp.MustCompile(` (-[A-Z][A-Za-z]+)`)
)

// calls lists the cmdlets of Hyper-V's in a part of a script, and their
// parameters. What stands in parentheses is a part of its own.
func calls(part string) (found []string) {
	for {
		at := inner.FindStringIndex(part)
		if at == nil {
			break
		}
		found = append(found, calls(part[at[0]+1:at[1]-1])...)
		part = part[:at[0]] + "_" + part[at[1]:]
	}
	at := called.FindAllStringSubmatchIndex(part, -1)
	for i, m := range at {
		end := len(part)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		name := part[m[2]:m[3]]
		found = append(found, name)
		for _, p := range parameter.FindAllStringSubmatch(part[m[3]:end], -1) {
			found = append(found, name+" "+p[1])
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
