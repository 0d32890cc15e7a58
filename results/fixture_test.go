package results

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"assay"
)

// day is the first moment of the fixtures.
var day = time.Date(2026, 11, 23, 13, 0, 9, 123456789, time.UTC)

// openTemp opens a fresh database.
func openTemp(t testing.TB) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "results.db"))
}

// openAt opens a database and closes it when the test ends.
func openAt(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// fill sets every field below v, by its type, to something that differs from
// its zero value and from its neighbours. A field that is added to the words of
// package assay and not to the schema makes TestRoundTrip fail.
func fillValue(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("word %d ä%c'\"%%", *n, rune(0x1F600+*n%40)))
	case reflect.Int, reflect.Int64, reflect.Uint32:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.125)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range 3 {
			fillValue(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fillValue(key, n)
			fillValue(value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(day.Add(time.Duration(*n) * time.Millisecond)))
			return
		}
		for i := range v.NumField() {
			fillValue(v.Field(i), n)
		}
	}
}

// fullRun returns a run with no field left at its zero value and with real
// artifacts below dir.
func fullRun(t testing.TB, dir string) assay.Run {
	var run assay.Run
	n := 0
	fillValue(reflect.ValueOf(&run).Elem(), &n)
	for _, c := range run.Cells {
		for i := range c.Files {
			c.Files[i] = file(t, dir, c.Files[i].Name)
		}
	}
	return run
}

// file writes an artifact below dir.
func file(t testing.TB, dir, text string) assay.Artifact {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	path := filepath.Join(dir, hex.EncodeToString(sum[:4]))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return assay.Artifact{Name: text, Digest: hex.EncodeToString(sum[:]), Size: int64(len(text)), Path: path}
}

// record writes a run as the engine does.
func record(t testing.TB, db *DB, run assay.Run) {
	t.Helper()
	start := run
	start.Cells, start.Seconds = nil, 0
	must(t, db.StartRun(start))
	for _, c := range run.Cells {
		must(t, db.StartCell(run.ID, &assay.Cell{ID: c.ID, Script: c.Script, Test: c.Test, Image: c.Image, Driver: c.Driver, Started: c.Started}))
		must(t, db.FinishCell(run.ID, c))
	}
	must(t, db.FinishRun(run))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares runs; an empty list equals none.
func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// one is a small cell of a script on an OS version, with one grade.
func one(script, version, subject string, verdict assay.Verdict, score float64, started time.Time) *assay.Cell {
	c := &assay.Cell{
		ID: fmt.Sprintf("%s:test_it@debian-%s/fake", script, version), Script: script, Digest: "d", Test: "test_it",
		Image: "debian-" + version, Driver: "fake", Params: map[string]string{"skill": subject},
		Started: started, Seconds: 12.5, Verdict: verdict,
		Machines: []assay.Machine{{ID: "m1", Image: "debian-" + version, Digest: "abc", Driver: "fake", Boot: 0.25,
			OS: assay.OS{ID: "debian", Version: version, Key: assay.VersionKey(version), Arch: "amd64"}}},
		Grades: []assay.Grade{{ID: 1, Subject: subject, Policy: "default@1", Letter: "B", Score: score, Verdict: verdict,
			Axes: []assay.AxisScore{{Name: "security", Score: score, Weight: 30}}}},
	}
	return c
}

// runOf wraps cells in a run.
func runOf(id string, started time.Time, cells ...*assay.Cell) assay.Run {
	run := assay.Run{ID: id, Started: started, Seconds: 60, Version: "1", Cells: cells}
	var verdicts []assay.Verdict
	for _, c := range cells {
		verdicts = append(verdicts, c.Verdict)
	}
	run.Verdict = assay.Worst(verdicts...)
	return run
}
