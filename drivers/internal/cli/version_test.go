package cli

import "testing"

func TestFindVersion(t *testing.T) {
	for text, want := range map[string]string{
		"limactl version 2.2.0\n": "2.2.0",
		"1.16.3+mac":              "1.16.3+mac",
		"v1.2":                    "1.2",
		"limactl version HEAD":    "",
		"":                        "",
	} {
		_, got, err := FindVersion(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	v, _, _ := FindVersion("1.13.1")
	for _, c := range []struct {
		major, minor int
		want         bool
	}{{1, 13, true}, {1, 14, false}, {0, 99, true}, {2, 0, false}, {1, 9, true}} {
		if got := v.AtLeast(c.major, c.minor); got != c.want {
			t.Errorf("%v at least %d.%d: got %v", v, c.major, c.minor, got)
		}
	}
}
