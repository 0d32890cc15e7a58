// Package enginetest tests verbs in the language of their users.
//
// A test file is split by lines that hold only "---": each chunk is one script,
// run as one cell. A comment ### "regexp" says that its line must fail with an
// error that matches; a chunk without one must run to its end. Scripts load
// assert from "assert.star". The package knows no verb.
package enginetest

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarktest"

	"assay/engine"
)

// Config says in what surroundings the scripts run.
type Config struct {
	Env    engine.Env
	Image  string            // default: debian-12
	Params map[string]string // relative paths in them count from the test files' folder
}

// Run runs every testdata/*.star file, so that none can be forgotten.
func Run(t *testing.T, c Config) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.star")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.star (%v)", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".star"), func(t *testing.T) {
			t.Parallel()
			c.runFile(t, f)
		})
	}
}

func (c Config) runFile(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	line := 1
	for chunk := range strings.SplitSeq(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n---\n") {
		c.runChunk(t, file, chunk, line)
		line += strings.Count(chunk, "\n") + 2
	}
}

// runChunk runs one script. It is padded so that positions are the file's.
func (c Config) runChunk(t *testing.T, file, chunk string, line int) {
	want := expectations(t, file, chunk, line)
	image := c.Image
	if image == "" {
		image = "debian-12"
	}
	_, err := engine.Exec(t.Context(), c.Env, engine.Script{
		Name: file, Source: []byte(strings.Repeat("\n", line-1) + chunk),
		Image: image, Driver: c.Env.Drivers[0].Name(), Params: c.Params,
		Load: func(th *starlark.Thread, module string) (starlark.StringDict, bool, error) {
			starlarktest.SetReporter(th, t)
			if module != "assert.star" {
				return nil, false, nil
			}
			g, err := starlarktest.LoadAssertModule()
			return g, true, err
		},
	})
	check(t, file, err, want)
}

func expectations(t *testing.T, file, chunk string, line int) map[int]*regexp.Regexp {
	want := map[int]*regexp.Regexp{}
	for i, l := range strings.Split(chunk, "\n") {
		_, after, ok := strings.Cut(l, "###")
		if !ok {
			continue
		}
		pat, err := strconv.Unquote(strings.TrimSpace(after))
		if err != nil {
			t.Fatalf("%s:%d: not a quoted regexp: %s", file, line+i, after)
		}
		want[line+i] = regexp.MustCompile(pat)
	}
	return want
}

func check(t *testing.T, file string, err error, want map[int]*regexp.Regexp) {
	t.Helper()
	if err != nil {
		n := lineOf(file, err)
		if rx := want[n]; rx == nil {
			t.Errorf("\n%s:%d: unexpected error: %v", file, n, err)
		} else if !rx.MatchString(err.Error()) {
			t.Errorf("\n%s:%d: error %q does not match %q", file, n, err, rx)
		}
		delete(want, n)
	}
	for n, rx := range want {
		t.Errorf("\n%s:%d: expected an error matching %q", file, n, rx)
	}
}

// lineOf returns the innermost line of file that err came from, or 0.
func lineOf(file string, err error) int {
	eval := (*starlark.EvalError)(nil)
	if !errors.As(err, &eval) {
		return 0
	}
	for i := range eval.CallStack {
		if pos := eval.CallStack.At(i).Pos; pos.Filename() == file {
			return int(pos.Line)
		}
	}
	return 0
}
