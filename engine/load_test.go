package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay/engine"
)

// TestLoad proves what a script can load, and that nothing else can be reached.
func TestLoad(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files []string
		want  string // part of the error; empty: none
	}{
		{"beside", []string{"a.star", "load('b.star', 'x')\n", "b.star", "x = 1"}, ""},
		{"from the folder", []string{"a.star", "load('//sub/b.star', 'x')\n", "sub/b.star", "load('c.star', 'y')\nx = y", "sub/c.star", "y = 1"}, ""},
		{"upwards within the folder", []string{"a.star", "load('sub/b.star', 'x')\n", "sub/b.star", "load('../c.star', 'y')\nx = y", "c.star", "y = 1"}, ""},
		{"once", []string{"a.star", "load('b.star', 'x')\nload('c.star', 'y')\nz = x", "b.star", "load('c.star', 'y')\nx = y", "c.star", "y = 1"}, ""},
		{"stdlib", []string{"a.star", "load('@stdlib//frontmatter.star', 'front_matter')\n"}, ""},
		{"no such module", []string{"a.star", "load('@stdlib//none.star', 'x')\n"}, "@stdlib//none.star: no such module in the standard library"},
		{"outside", []string{"a.star", "load('../b.star', 'x')\n"}, "escapes from parent"},
		{"outside by root", []string{"a.star", "load('//../b.star', 'x')\n"}, "escapes from parent"},
		{"absolute", []string{"a.star", "load('/etc/passwd', 'x')\n"}, `got module "/etc/passwd", want a name that ends in .star`},
		{"link", []string{"a.star", "load('link.star', 'x')\n"}, "escapes from parent"},
		{"folder", []string{"a.star", "load('dir.star', 'x')\n", "dir.star/x", ""}, "got no regular file, want one"},
		{"cycle", []string{"a.star", "load('b.star', 'x')\n", "b.star", "load('c.star', 'y')\nx = 1", "c.star", "load('b.star', 'x')\ny = 1"}, "cycle: //b.star loads //c.star loads //b.star"},
		{"itself", []string{"a.star", "load('a.star', 'x')\ny = 1"}, "cycle: //a.star loads //a.star"},
		{"too big", []string{"a.star", "load('b.star', 'x')\n", "b.star", strings.Repeat("#", 1<<20) + "\n"}, "got more than 1048576 bytes, want a smaller file"},
		{"error within", []string{"a.star", "load('b.star', 'x')\n", "b.star", "x = 1 // 0"}, "cannot load b.star: floored division by zero"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := write(t, tt.files...)
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.star")); err != nil {
				t.Fatal(err)
			}
			_, err := engine.Plan(t.Context(), environment(t.TempDir()), engine.Options{Scripts: []string{filepath.Join(dir, "a.star")}})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
