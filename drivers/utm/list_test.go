package utm

import (
	"slices"
	"testing"

	"assay/drivers/internal/cli"
)

// TestParseList reads what utmctl prints, names with spaces included, and refuses
// what it cannot have printed.
func TestParseList(t *testing.T) {
	const heading = "UUID                                 Status   Name\n"
	const id = "5D2E0C5A-0000-4000-8000-000000000001"
	for text, want := range map[string][]cli.Listed{
		heading:                                nil,
		heading + id + " stopped  my  VM \n\n": {{ID: id, State: "stopped", Name: "my  VM "}},
		heading + id + " stopping a\r\n" + id + " started  b": {
			{ID: id, State: "stopping", Name: "a"}, {ID: id, State: "started", Name: "b"},
		},
	} {
		if got, err := parseList(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Error", heading + "x", heading + id, heading + id + " stopped", heading + "short stopped  x"} {
		if got, err := parseList(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// FuzzParseList proves that no list makes it panic.
func FuzzParseList(f *testing.F) {
	f.Add("UUID Status Name\n5D2E0C5A-0000-4000-8000-000000000001 started  x\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseList(text)
		for _, l := range list {
			if err == nil && len(l.ID) != uuidLen {
				t.Errorf("got the id %q", l.ID)
			}
		}
	})
}
