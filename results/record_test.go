package results

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay"
)

// What was recorded comes back, whole: every field of every word.
func TestRoundTrip(t *testing.T) {
	db := openTemp(t)
	want := fullRun(t, t.TempDir())
	record(t, db, want)
	for _, id := range []string{want.ID, "last", want.ID[:3]} {
		got, err := db.Run(id)
		must(t, err)
		same(t, got, want)
	}
	ro, err := OpenReadOnly(db.Path())
	must(t, err)
	defer ro.Close()
	got, err := ro.Run("last")
	must(t, err)
	same(t, got, want)
}

// A run that FinishRun alone told us about is whole as well.
func TestFinishRunRecordsWhatIsMissing(t *testing.T) {
	db := openTemp(t)
	want := fullRun(t, t.TempDir())
	must(t, db.FinishRun(want))
	got, err := db.Run(want.ID)
	must(t, err)
	same(t, got, want)
}

// Cells come back in the run's order, in whatever order they ran.
func TestCellOrder(t *testing.T) {
	db := openTemp(t)
	a, b, c := one("a.star", "11", "s", assay.Pass, 90, day), one("a.star", "12", "s", assay.Pass, 90, day), one("a.star", "13", "s", assay.Pass, 90, day)
	run := runOf("r1", day, a, b, c)
	must(t, db.StartRun(assay.Run{ID: "r1", Started: day}))
	for _, cell := range []*assay.Cell{c, a, b} {
		must(t, db.StartCell("r1", cell))
	}
	for _, cell := range []*assay.Cell{b, c, a} {
		must(t, db.FinishCell("r1", cell))
	}
	must(t, db.FinishRun(run))
	got, err := db.Run("r1")
	must(t, err)
	same(t, got, run)
}

// The first result of a cell counts; a repeat changes nothing.
func TestFinishCellTwice(t *testing.T) {
	db := openTemp(t)
	first, second := one("a.star", "12", "s", assay.Pass, 90, day), one("a.star", "12", "s", assay.Fail, 10, day)
	must(t, db.StartRun(assay.Run{ID: "r1", Started: day}))
	must(t, db.FinishCell("r1", first))
	must(t, db.FinishCell("r1", second))
	must(t, db.StartCell("r1", second))
	got, err := db.Run("r1")
	must(t, err)
	same(t, got.Cells, []*assay.Cell{first})
}

// A run whose process died keeps its finished cells; the others are closed.
func TestInterrupted(t *testing.T) {
	db := openTemp(t)
	done, begun, planned := one("a.star", "11", "s", assay.Pass, 90, day), one("a.star", "12", "s", "", 0, day), one("a.star", "13", "s", "", 0, day)
	planned.Started = time.Time{}
	must(t, db.StartRun(assay.Run{ID: "r1", Started: day, Cells: []*assay.Cell{done, begun, planned}}))
	must(t, db.StartCell("r1", done))
	must(t, db.FinishCell("r1", done))
	must(t, db.StartCell("r1", begun))

	live, err := db.Run("r1")
	must(t, err)
	if live.Verdict != "" || live.Cells[0].Verdict != assay.Pass || live.Cells[1].Verdict != "" {
		t.Fatalf("a run that goes on: %+v", live)
	}
	must(t, db.Interrupted("r1"))
	got, err := db.Run("r1")
	must(t, err)
	same(t, got.Cells[0], done)
	for _, c := range got.Cells[1:] {
		if c.Verdict != assay.Error || c.Failure == nil || c.Failure.Kind != assay.InterruptedFailure {
			t.Errorf("%s: verdict %s, failure %+v, wanted an interrupted one", c.ID, c.Verdict, c.Failure)
		}
	}
	if got.Verdict != assay.Error || got.Seconds != 12.5 {
		t.Errorf("run: verdict %s after %v s, wanted error after 12.5", got.Verdict, got.Seconds)
	}
	must(t, db.Interrupted("r1")) // a run that has ended stays as it is
	again, err := db.Run("r1")
	must(t, err)
	same(t, again, got)
}

// A cell that broke before it was graded stays in the row of the cells that did not.
func TestSubjectOfBrokenCell(t *testing.T) {
	db := openTemp(t)
	record(t, db, runOf("r1", day, one("a.star", "12", "skill-a", assay.Pass, 90, day)))
	broken := one("a.star", "12", "skill-a", assay.Error, 0, day.AddDate(0, 0, 1))
	broken.Grades, broken.Machines = nil, nil
	record(t, db, runOf("r2", day.AddDate(0, 0, 1), broken))
	rows := query(t, db, "SELECT subject, os, version, version_key, arch FROM cells WHERE run = 'r2'")
	same(t, rows, [][]any{{"skill-a", "debian", "12", "00012", "amd64"}})
}

func TestNameOS(t *testing.T) {
	for image, want := range map[string]assay.OS{
		"debian-12":    {ID: "debian", Version: "12"},
		"ubuntu-22.04": {ID: "ubuntu", Version: "22.04"},
		"my-image":     {ID: "my-image"},
		"x":            {ID: "x"},
		"":             {},
	} {
		same(t, nameOS(image), want)
	}
}

func TestRunNames(t *testing.T) {
	db := openTemp(t)
	expect(t, second(db.Run("last")), "holds no run")
	for _, err := range []error{second(db.Run("last")), second(db.Run("x")), db.Interrupted("x"), second(OpenReadOnly(db.Path() + "x"))} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: is no fs.ErrNotExist", err)
		}
	}
	record(t, db, runOf("20261123T130009-aaaa", day))
	record(t, db, runOf("20261123T130009-abbb", day.AddDate(0, 0, 1)))
	for id, want := range map[string]string{
		"20261123T130009-a": "several runs begin so: 20261123T130009-aaaa, 20261123T130009-abbb",
		"2027":              `"assay history" lists them`,
		"":                  "no such run",
		"%":                 "no such run",
	} {
		expect(t, second(db.Run(id)), want)
	}
	got, err := db.Run("20261123T130009-ab")
	must(t, err)
	if got.ID != "20261123T130009-abbb" {
		t.Errorf("prefix: got %s", got.ID)
	}
	expect(t, db.StartRun(runOf("20261123T130009-aaaa", day)), "already recorded")
	expect(t, db.FinishCell("nobody", one("a.star", "12", "s", assay.Pass, 1, day)), `run "nobody": not recorded`)
}

// Artifacts are moved by digest, checked, shared, and never lead out of the store.
func TestArtifacts(t *testing.T) {
	db, dir := openTemp(t), t.TempDir()
	cell := one("a.star", "12", "s", assay.Pass, 90, day)
	cell.Files = []assay.Artifact{file(t, dir, "console")}
	from := cell.Files[0].Path
	record(t, db, runOf("r1", day, cell))
	path, err := db.Artifact(cell.Files[0].Digest)
	must(t, err)
	if text, _ := os.ReadFile(path); string(text) != "console" || path != cell.Files[0].Path {
		t.Errorf("stored %q at %s, the cell says %s", text, path, cell.Files[0].Path)
	}
	if _, err := os.Lstat(from); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", from, err)
	}
	want := filepath.Join(filepath.Dir(db.Path()), "artifacts", cell.Files[0].Digest[:2], cell.Files[0].Digest[2:])
	if path != want {
		t.Errorf("stored at %s, wanted %s", path, want)
	}
	for _, digest := range []string{"", "../../../../etc/passwd", strings.Repeat("0", 64), strings.Repeat("../", 21) + "0"} {
		if _, err := db.Artifact(digest); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("artifact %q: %v, wanted fs.ErrNotExist", digest, err)
		}
	}
}

// An artifact that is not what it says is reported; the cell is kept.
func TestBadArtifacts(t *testing.T) {
	db, dir := openTemp(t), t.TempDir()
	changed, link, gone, good := file(t, dir, "changed"), file(t, dir, "link"), file(t, dir, "gone"), file(t, dir, "good")
	must(t, os.WriteFile(changed.Path, []byte("evil"), 0o644))
	must(t, os.Remove(gone.Path))
	must(t, os.Remove(link.Path))
	must(t, os.Symlink("/etc/passwd", link.Path))
	cell := one("a.star", "12", "s", assay.Pass, 90, day)
	cell.Files = []assay.Artifact{changed, link, gone, good}
	must(t, db.StartRun(assay.Run{ID: "r1", Started: day}))
	err := db.FinishCell("r1", cell)
	for _, name := range []string{`artifact "changed": `, `artifact "link": `, `artifact "gone": open "` + gone.Path + `": `} {
		expect(t, err, name)
	}
	got, err := db.Run("r1")
	must(t, err)
	if files := got.Cells[0].Files; len(files) != 1 || files[0].Name != "good" || got.Cells[0].Verdict != assay.Pass {
		t.Errorf("kept %+v, wanted the good one", files)
	}
}

func TestReadOnlyRecordsNothing(t *testing.T) {
	db := openTemp(t)
	ro, err := OpenReadOnly(db.Path())
	must(t, err)
	defer ro.Close()
	cell := one("a.star", "12", "s", assay.Pass, 90, day)
	cell.Files = []assay.Artifact{file(t, t.TempDir(), "x")}
	for _, err := range []error{ro.StartRun(assay.Run{ID: "r"}), ro.FinishCell("r", cell), ro.FinishRun(assay.Run{ID: "r"})} {
		expect(t, err, "opened for reading only")
	}
	if _, err := os.Stat(cell.Files[0].Path); err != nil {
		t.Errorf("the artifact was moved: %v", err)
	}
}

// second returns the error of a call with two results.
func second[T any](_ T, err error) error { return err }

// expect fails unless err says want.
func expect(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, wanted one with %q", err, want)
	}
}
