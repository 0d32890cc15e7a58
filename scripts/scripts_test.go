package scripts_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay"
	"assay/builtins"
	"assay/drivers/fake"
	"assay/engine"
	"assay/scripts"
	"assay/stdlib"
	"assay/vm"
)

// catalog stands for an image store that has every image.
type catalog struct{ driver vm.Driver }

func (c catalog) Resolve(name string) (vm.Image, error) {
	return c.driver.(interface{ Image(string) vm.Image }).Image(name), nil
}

func (c catalog) Match(globs []string) ([]string, error) {
	if slices.Equal(globs, []string{"debian-1*"}) {
		return []string{"debian-11", "debian-12", "debian-13"}, nil
	}
	return globs, nil
}

// forget records nothing.
type forget struct{}

func (forget) StartRun(assay.Run) error             { return nil }
func (forget) StartCell(string, *assay.Cell) error  { return nil }
func (forget) FinishCell(string, *assay.Cell) error { return nil }
func (forget) FinishRun(assay.Run) error            { return nil }

// run runs a script on machines in memory.
func run(t *testing.T, script string, params map[string]string) assay.Run {
	t.Helper()
	return runIn(t, fakeEnv(t), script, params)
}

func fakeEnv(t *testing.T) engine.Env {
	d := fake.New()
	return testEnv(t, d, catalog{d})
}

func testEnv(t *testing.T, d vm.Driver, images engine.Images) engine.Env {
	return engine.Env{Drivers: []vm.Driver{d}, Images: images, Builtins: builtins.All(), Values: builtins.Values(),
		Stdlib: stdlib.FS, StateDir: t.TempDir(), Host: engine.Capacity{CPUs: 4, Memory: 8 << 30}}
}

// runIn runs a script and logs why cells failed.
func runIn(t *testing.T, env engine.Env, script string, params map[string]string) assay.Run {
	t.Helper()
	var log strings.Builder
	got, err := engine.Run(t.Context(), env, engine.Options{Scripts: []string{script}, Params: params, Jobs: 1}, forget{}, func(e engine.Event) {
		if e.Kind == engine.Log || e.Kind == engine.Output {
			log.WriteString(e.Text + "\n")
		}
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, c := range got.Cells {
		if c.Failure != nil {
			t.Logf("%s: %s\n%s%s", c.ID, c.Failure.Message, c.Failure.Backtrace, log.String())
		}
	}
	return got
}

// TestScripts runs every script, so that none can be forgotten.
func TestScripts(t *testing.T) {
	cases := map[string]struct {
		params map[string]string
		cells  int
	}{
		"_template.star": {nil, 1},
		"dotfiles.star":  {map[string]string{"dotfiles": "testdata/dotfiles"}, 1},
		"installer.star": {map[string]string{"installer": "testdata/installer", "command": "mytool"}, 1},
		"matrix.star":    {map[string]string{"command": "echo hi"}, 3},
		"package.star":   {map[string]string{"package": "tree", "command": "tree --version"}, 1},
		"skill.star":     {map[string]string{"skill": "testdata/skill", "rerun": "yes"}, 1},
	}
	files, err := filepath.Glob("*.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			c, ok := cases[file]
			if !ok {
				t.Fatal("got no case, want one")
			}
			r := run(t, file, c.params)
			if len(r.Cells) != c.cells {
				t.Errorf("got %d cells, want %d", len(r.Cells), c.cells)
			}
			for _, cell := range r.Cells {
				if cell.Verdict != assay.Pass && cell.Verdict != assay.Warn {
					t.Errorf("%s: got %s, want pass or warn", cell.ID, cell.Verdict)
				}
				if len(cell.Grades) == 0 {
					t.Errorf("%s: got no grade", cell.ID)
				}
			}
		})
	}
}

// flaws are the rules that speak of the flawed sample, and of testdata/skill.
var flaws = []string{"background-processes", "hardcoded-home-paths", "leftover-temp-files", "system-files-modified", "undocumented-dependency"}

// wantRules checks which rules found something in a cell.
func wantRules(t *testing.T, c *assay.Cell, want []string) {
	t.Helper()
	if len(c.Grades) != 1 {
		t.Fatalf("%s: got %d grades, want 1", c.ID, len(c.Grades))
	}
	var got []string
	for _, f := range c.Grades[0].Findings {
		got = append(got, f.Rule)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v\n%+v", c.ID, got, want, c.Grades[0].Findings)
	}
}

// TestFlaws proves the whole way from a skill's flaws to its findings: transfer,
// exec, capture, diff and grade.
func TestFlaws(t *testing.T) {
	r := run(t, "skill.star", map[string]string{"skill": "testdata/skill"})
	wantRules(t, r.Cells[0], flaws)
	if g := r.Cells[0].Grades[0]; g.Letter != "C" || g.Verdict != assay.Warn {
		t.Errorf("got %s %s, want C and a warning", g.Letter, g.Verdict)
	}
}

// TestPlan proves that the demo is both samples.
func TestPlan(t *testing.T) {
	cells, err := engine.Plan(t.Context(), fakeEnv(t), engine.Options{Scripts: []string{"skill.star"}})
	if err != nil || len(cells) != 2 || cells[0].Variant != "flawed" || cells[1].Variant != "clean" {
		t.Errorf("got %v, %v; want the variants flawed and clean", cells, err)
	}
}

// TestOneSkill proves that a skill of the user's is tested instead of the samples,
// and that min_grade decides.
func TestOneSkill(t *testing.T) {
	r := run(t, "skill.star", map[string]string{"skill": "testdata/skill", "min_grade": "B"})
	if len(r.Cells) != 1 || r.Cells[0].Verdict != assay.Fail || !strings.Contains(r.Cells[0].Failure.Message, "wanted B or better") {
		t.Errorf("got %d cells, want one that failed for its grade", len(r.Cells))
	}
}

// TestEmbedded proves that the binary has the starter, the scripts and the samples.
func TestEmbedded(t *testing.T) {
	for _, name := range []string{"_template.star", "skill.star", "samples/flawed-skill/run.sh", "samples/clean-skill/SKILL.md"} {
		if data, err := fs.ReadFile(scripts.FS, name); err != nil || len(data) == 0 {
			t.Errorf("%s: got %d bytes, %v", name, len(data), err)
		}
	}
}

// TestPurpose proves that every script begins with what it is for and how it is run.
func TestPurpose(t *testing.T) {
	files, _ := fs.Glob(scripts.FS, "*.star")
	for _, file := range files {
		data, err := fs.ReadFile(scripts.FS, file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		if !strings.HasPrefix(lines[0], "# ") || !strings.HasSuffix(lines[0], ".") || !strings.Contains(lines[2], "assay run ") {
			t.Errorf("%s: got %q and %q, want its purpose and an example command", file, lines[0], lines[2])
		}
	}
}
