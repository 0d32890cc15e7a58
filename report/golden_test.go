package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the goldens instead of comparing with them")

// golden compares text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want +got (go test -update writes it anew):\n%s", path, diff)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each format writes each of the fixtures as its golden says, every time.
func TestFormats(t *testing.T) {
	for name, run := range fixtures() {
		for _, f := range Formats() {
			if f.Name == "json" && name != "flawed" {
				continue // one is enough: the schema checks the others
			}
			t.Run(name+" "+f.Name, func(t *testing.T) {
				var first, second bytes.Buffer
				must(t, f.Render(&first, run))
				must(t, f.Render(&second, run))
				if !bytes.Equal(first.Bytes(), second.Bytes()) {
					t.Error("the same run gave two texts")
				}
				golden(t, name+f.Ext, first.Bytes())
			})
		}
	}
}

// A terminal shows each of the fixtures as its golden says.
func TestSummary(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	for name, run := range fixtures() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			must(t, Summary(&b, run, 0, false))
			golden(t, name+".txt", b.Bytes())
		})
	}
	var b bytes.Buffer
	must(t, Summary(&b, fixtures()["matrix"], 80, true))
	golden(t, "matrix-80-colour.txt", b.Bytes())
}
