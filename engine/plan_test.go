package engine_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/engine"
)

// plan returns the ids of the cells of scripts in a new folder.
func plan(t *testing.T, opt engine.Options, files ...string) ([]string, error) {
	t.Helper()
	dir := write(t, files...)
	if len(opt.Scripts) == 0 {
		opt.Scripts = []string{""}
	}
	for i, s := range opt.Scripts {
		opt.Scripts[i] = filepath.Join(dir, s)
	}
	cells, err := engine.Plan(t.Context(), environment(t.TempDir()), opt)
	var ids []string
	for _, c := range cells {
		ids = append(ids, c.ID)
	}
	return ids, err
}

const test1 = "def test_1():\n    pass\n"

// TestPlan proves how scripts, their settings and the flags become cells.
func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opt   engine.Options
		files []string
		want  string // ids, joined by spaces
	}{
		{"default", engine.Options{}, []string{"a.star", test1}, "a.star:test_1@debian-12/fake"},
		{"two tests", engine.Options{}, []string{"a.star", test1 + "def helper():\n    pass\ndef test_2():\n    pass\n"},
			"a.star:test_1@debian-12/fake a.star:test_2@debian-12/fake"},
		{"a script is one test", engine.Options{}, []string{"a.star", "vm = launch()\nexec(vm, 'true')"}, "a.star@debian-12/fake"},
		{"images", engine.Options{}, []string{"a.star", "images = ['debian-13', 'debian-11']\n" + test1},
			"a.star:test_1@debian-13/fake a.star:test_1@debian-11/fake"},
		{"computed images", engine.Options{}, []string{"a.star", "images = ['debian-%d' % n for n in range(11, 13)]\n" + test1},
			"a.star:test_1@debian-11/fake a.star:test_1@debian-12/fake"},
		{"globs", engine.Options{}, []string{"a.star", "images = 'debian-1[12]'\n" + test1},
			"a.star:test_1@debian-11/fake a.star:test_1@debian-12/fake"},
		{"flag before script", engine.Options{Images: []string{"debian-13"}}, []string{"a.star", "images = ['debian-11']\n" + test1}, "a.star:test_1@debian-13/fake"},
		{"settings after a launch are too late", engine.Options{}, []string{"a.star", "launch()\nimages = ['debian-11']"}, "a.star@debian-12/fake"},
		{"settings from a module", engine.Options{Scripts: []string{"a.star"}}, []string{"a.star", "load('lib.star', 'IMAGES')\nimages = IMAGES\n" + test1, "lib.star", "IMAGES = ['debian-11']"},
			"a.star:test_1@debian-11/fake"},
		{"variants", engine.Options{}, []string{"a.star", "variants = {'fast': {'n': 1}, 'slow': {}}\n" + test1},
			"a.star:test_1@debian-12/fake[fast] a.star:test_1@debian-12/fake[slow]"},
		{"variant list", engine.Options{}, []string{"a.star", "variants = ['x']\n" + test1}, "a.star:test_1@debian-12/fake[x]"},
		{"chosen variants", engine.Options{Variants: []string{"s*"}}, []string{"a.star", "variants = ['fast', 'slow']\n" + test1}, "a.star:test_1@debian-12/fake[slow]"},
		{"filter", engine.Options{Filter: "test_2@"}, []string{"a.star", test1 + "def test_2():\n    pass\n"}, "a.star:test_2@debian-12/fake"},
		{"folder", engine.Options{}, []string{"b.star", test1, "sub/a.star", test1, "_template.star", test1, ".hidden.star", test1, "lib.star", "x = 1", "notes.txt", "x"},
			"b.star:test_1@debian-12/fake sub/a.star:test_1@debian-12/fake"},
		{"named twice", engine.Options{Scripts: []string{"a.star", "a.star", ""}}, []string{"a.star", test1}, "a.star:test_1@debian-12/fake"},
		{"a parameter that a variant may give", engine.Options{}, []string{"a.star", "p = param('p')\nvariants = {'v': {'p': 'x'}}\n" + test1}, "a.star:test_1@debian-12/fake[v]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ids, err := plan(t, tt.opt, tt.files...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(ids, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestPlanNames proves that scripts of one name are told apart.
func TestPlanNames(t *testing.T) {
	ids, err := plan(t, engine.Options{Scripts: []string{"one/a.star", "two/a.star"}}, "one/a.star", test1, "two/a.star", test1)
	if err != nil || len(ids) != 2 || ids[0] == ids[1] || !strings.HasSuffix(ids[1], "two/a.star:test_1@debian-12/fake") {
		t.Errorf("got %q, %v", ids, err)
	}
}

// TestPlanErrors proves what wrong scripts and flags get.
func TestPlanErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opt   engine.Options
		files []string
		want  string
	}{
		{"syntax", engine.Options{}, []string{"a.star", "x = 1\ndef f(:\n"}, "a.star:2:8: got ':', want ')'"},
		{"undefined", engine.Options{}, []string{"a.star", "lunch()"}, "a.star:1:1: undefined: lunch; did you mean launch?"},
		{"missing script", engine.Options{Scripts: []string{"b.star"}}, []string{"a.star", test1}, "b.star: no such file"},
		{"unknown image", engine.Options{Images: []string{"windows-95"}}, []string{"a.star", test1}, "windows-95: no such image"},
		{"unknown driver", engine.Options{Driver: "fakr"}, []string{"a.star", test1}, "driver: fakr: no such driver; did you mean fake?"},
		{"images of a wrong type", engine.Options{}, []string{"a.star", "images = 12\n" + test1}, "a.star: images: got int, want list of strings"},
		{"empty images", engine.Options{}, []string{"a.star", "images = []\n" + test1}, "a.star: images: got 0, want between 1 and 1000"},
		{"driver of a wrong type", engine.Options{}, []string{"a.star", "driver = ['fake']\n" + test1}, "a.star: driver: got list, want string"},
		{"variant of a wrong type", engine.Options{}, []string{"a.star", "variants = {'a': {'n': []}}\n" + test1}, "a.star: variants: a: n: got list, want string, number or bool"},
		{"wrong argument of a value", engine.Options{}, []string{"a.star", "n = allow()\n" + test1}, "a.star:1:10: allow: got no hosts"},
		{"endless top level", engine.Options{}, []string{"a.star", "for i in range(1 << 40):\n    pass\n"}, "script ran 50000000 steps without coming to an end"},
		{"missing module", engine.Options{}, []string{"a.star", "load('none.star', 'x')"}, "none.star: no such file beside the script"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := plan(t, tt.opt, tt.files...)
			if s := (*engine.ScriptError)(nil); !errors.As(err, &s) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a script error: %s", err, tt.want)
			}
		})
	}
}

// TestPlanNothing proves that an empty plan is an error of its own.
func TestPlanNothing(t *testing.T) {
	for _, tt := range []struct {
		opt   engine.Options
		files []string
		want  string
	}{
		{engine.Options{}, []string{"lib.star", "x = 1"}, "nothing to run: no scripts with tests in "},
		{engine.Options{Filter: "test_9"}, []string{"a.star", test1}, `nothing to run: no cell matches "test_9"`},
		{engine.Options{Variants: []string{"v"}}, []string{"a.star", test1}, `nothing to run: no variant matches "v"`},
	} {
		_, err := plan(t, tt.opt, tt.files...)
		if !errors.Is(err, engine.ErrNothing) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// TestDigest proves that a script's digest changes with what it loads.
func TestDigest(t *testing.T) {
	digest := func(lib string) string {
		dir := write(t, "a.star", "load('lib.star', 'x')\n"+test1, "lib.star", lib)
		cells, err := engine.Plan(t.Context(), environment(t.TempDir()), engine.Options{Scripts: []string{filepath.Join(dir, "a.star")}})
		if err != nil {
			t.Fatal(err)
		}
		return cells[0].Digest
	}
	digests := []string{digest("x = 1"), digest("x = 1"), digest("x = 2")}
	if digests[0] != digests[1] || digests[0] == digests[2] || slices.Contains(digests, "") {
		t.Errorf("got %q, want two alike and one other", digests)
	}
}
