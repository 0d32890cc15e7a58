package grade_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"assay"
	"assay/grade"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// scene is a golden: an input, the sample that was the subject, and the grade.
type scene struct {
	file    string
	archive *txtar.Archive
	input   grade.Input
}

// readScene reads testdata/NAME.txtar. "subject: NAME" in its first line names a
// sample skill of package scripts.
func readScene(t *testing.T, file string) scene {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := scene{file: file, archive: a}
	decode(t, s.part("input.json"), &s.input)
	first, _, _ := strings.Cut(string(a.Comment), "\n")
	if name, ok := strings.CutPrefix(first, "subject: "); ok {
		s.input.Subject = sample(t, name)
	}
	return s
}

// sample reads one of the shipped sample skills.
func sample(t testing.TB, name string) *grade.Subject {
	t.Helper()
	s, err := grade.ReadSubject(os.DirFS(filepath.Join("..", "scripts", "samples", name)), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Files) < 5 {
		t.Fatalf("got %d files of the sample %s, want all", len(s.Files), name)
	}
	return s
}

func decode(t *testing.T, data []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatal(err)
	}
}

func (s scene) part(name string) []byte {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// keep writes the grade into the golden.
func (s scene) keep(t *testing.T, data []byte) {
	t.Helper()
	files := slices.DeleteFunc(s.archive.Files, func(f txtar.File) bool { return f.Name == "grade.json" })
	s.archive.Files = append(files, txtar.File{Name: "grade.json", Data: data})
	if err := os.WriteFile(s.file, txtar.Format(s.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGoldens(t *testing.T) {
	p := defaultPolicy(t)
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 5 {
		t.Fatalf("got %d goldens, %v; want at least 5", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			s := readScene(t, file)
			got := encodeGrade(judge(t, p, s.input))
			if *update {
				s.keep(t, got)
			} else if want := s.part("grade.json"); !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s\nrun go test -update to accept it", got, want)
			}
		})
	}
}

// TestSamples proves what the demo promises: exactly these flaws for the first
// skill, and none for the second.
func TestSamples(t *testing.T) {
	p := defaultPolicy(t)
	flawed := judge(t, p, readScene(t, "testdata/flawed-skill.txtar").input)
	got := map[string]string{}
	for _, f := range flawed.Findings {
		got[f.Rule] = f.Message
	}
	want := map[string]string{
		"system-files-modified":   "1 system file changed: /etc/hosts",
		"hardcoded-home-paths":    "Hard-coded home path /home/ubuntu/.claude/cache (run.sh:67)",
		"undocumented-dependency": "Undocumented dependency: installs jq, which the documentation does not name",
		"leftover-temp-files":     "3 temporary files left: /tmp/skill-temp-read.log, /tmp/skill-temp-sum.log, /tmp/skill-temp-table.log",
		"background-processes":    "1 process still running afterwards: tester: tail -n 0 -F /tmp/skill-temp-read.log",
	}
	if !reflect.DeepEqual(got, want) || len(flawed.Findings) != 5 {
		t.Errorf("flawed: got %v, want %v", got, want)
	}
	if flawed.Letter != "C" || flawed.Verdict != assay.Warn {
		t.Errorf("flawed: got %s %v %s, want C and a warning: it works, and changes the system", flawed.Letter, flawed.Score, flawed.Verdict)
	}
	clean := judge(t, p, readScene(t, "testdata/clean-skill.txtar").input)
	if len(clean.Findings) != 0 || clean.Letter != "A" || clean.Score != 100 || clean.Verdict != assay.Pass {
		t.Errorf("clean: got %s %v %v, want A, 100 and no findings", clean.Letter, clean.Score, clean.Findings)
	}
	for _, tick := range []string{"No systemd services added", "No cron jobs created", "No environment variables or shell start files modified"} {
		if !slices.ContainsFunc(clean.Checks, func(c assay.Clear) bool { return c.Message == tick }) {
			t.Errorf("clean: got no tick %q", tick)
		}
	}
}

// writeJSON writes g as the goldens hold it. A grade always marshals.
func writeJSON(w io.Writer, g assay.Grade) {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(g); err != nil {
		panic(err)
	}
}
