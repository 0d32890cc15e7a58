package capture

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// notFiles are all collectors but the one that sees who owns the fixtures.
func notFiles() []string {
	var only []string
	for _, c := range Collectors() {
		if c.Name() != "files" {
			only = append(only, c.Name())
		}
	}
	return only
}

// render shows a capture for goldens: a line a record.
func render(c Capture) string {
	var b strings.Builder
	for _, r := range c.Records {
		fmt.Fprintf(&b, "%s %q", r.Kind, r.Key)
		for _, name := range fields(r.Attrs) {
			fmt.Fprintf(&b, " %s=%q", name, r.Attrs[name])
		}
		b.WriteByte('\n')
	}
	for _, p := range c.Problems {
		fmt.Fprintf(&b, "problem %q\n", p)
	}
	return b.String()
}

func TestGoldens(t *testing.T) {
	for _, name := range []string{"debian-11", "debian-12", "debian-13", "rpm", "apk", "languages", "live"} {
		t.Run(name, func(t *testing.T) {
			c, err := Collect(t.Context(), Dir(filepath.Join("testdata", name)), Options{Only: notFiles()})
			check(t, err)
			got, golden := render(c), filepath.Join("testdata", name+".golden")
			if *update {
				check(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			check(t, err)
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("run with -update if this is right (-want +got):\n%s", d)
			}
		})
	}
}
