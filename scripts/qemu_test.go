package scripts_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay"
	"assay/drivers/qemu"
	"assay/images"
)

// TestDemo proves what "make demo" promises, on real machines: the report names
// exactly the flaws of the one sample, and none of the other.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("real machines take a minute")
	}
	store, err := images.Open(images.DefaultDir())
	if err != nil {
		skip(t, err)
	}
	if _, err := store.Resolve("debian-12"); err != nil {
		skip(t, err)
	}
	dir := t.TempDir()
	d := qemu.New(qemu.Config{TemplateDir: filepath.Join(dir, "templates"), RunDir: filepath.Join(dir, "run")})
	if _, err := d.Probe(t.Context()); err != nil {
		skip(t, err)
	}
	r := runIn(t, testEnv(t, d, store), "skill.star", nil)
	if len(r.Cells) != 2 {
		t.Fatalf("got %d cells, want 2", len(r.Cells))
	}
	wantRules(t, r.Cells[0], flaws)
	wantRules(t, r.Cells[1], nil)
	for i, want := range []struct {
		letter  string
		verdict assay.Verdict
	}{{"C", assay.Warn}, {"A", assay.Pass}} {
		c := r.Cells[i]
		if g := c.Grades[0]; g.Letter != want.letter || c.Verdict != want.verdict {
			t.Errorf("%s: got %s %s, want %s %s", c.ID, g.Letter, c.Verdict, want.letter, want.verdict)
		}
	}
}

// skip skips the test for a reason, or fails it if ASSAY_MUST_RUN names qemu.
func skip(t *testing.T, why error) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "qemu") {
		t.Fatalf("qemu must run here (ASSAY_MUST_RUN): %v", why)
	}
	t.Skip(why)
}
