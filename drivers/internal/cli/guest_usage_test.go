package cli

import (
	"testing"
	"time"

	"assay/vm"
)

func TestParseGuestUsage(t *testing.T) {
	const good = "cpu  100 20 30 4000 5 6 7 8 9 0\ncpu0 100 20 30 4000 5 6 7 8 9 0\nMemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  400 kB\n"
	for text, want := range map[string]vm.Usage{
		good:                       {CPU: 1630 * time.Millisecond, Memory: 600 << 10},
		"":                         {},
		"cpu  one\nMemTotal: 5 kB": {},
		"cpu  1 1 1 1 1 1 1\nMemTotal: 5 kB\nMemAvailable: 6 kB\n":  {},
		"cpu  1 1 1 1 1 1 1\nMemTotal: 5 kB\nMemAvailable: -6 kB\n": {},
	} {
		got, err := parseGuestUsage(text)
		if got != want || (err == nil) != (want != vm.Usage{}) {
			t.Errorf("%.30q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
}
