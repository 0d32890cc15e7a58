package results

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"assay"
)

// idle is a cell whose machine had a placebo.
func idle(version string, started time.Time, ps ...assay.Placebo) *assay.Cell {
	c := one("idle.star", version, "nothing", assay.Pass, 100, started)
	c.Placebos = ps
	return c
}

func placeboOf(image, scope string, seconds float64, keys ...string) assay.Placebo {
	p := assay.Placebo{Image: image, Scope: scope, Seconds: seconds}
	for _, k := range keys {
		p.Changes = append(p.Changes, assay.Change{Kind: "file", Key: k, Op: assay.Added, After: map[string]string{"type": "file"}})
	}
	return p
}

// Placebos of an image are found, newest first and complete: those of its own and
// of the scope that is asked for, and of no other.
func TestPlacebos(t *testing.T) {
	db := openTemp(t)
	first := placeboOf("img", "", 10, "/a", "/b")
	second := placeboOf("img", "mine", 20, "/c")
	third := placeboOf("img", "theirs", 30, "/d")
	fourth := placeboOf("img", "", 40)
	record(t, db, runOf("r1", day, idle("12", day, first, second)))
	record(t, db, runOf("r2", day.Add(time.Hour), idle("12", day.Add(time.Hour), third, fourth), idle("13", day, placeboOf("other", "", 5, "/a"))))
	for name, tt := range map[string]struct {
		filter PlaceboFilter
		want   []assay.Placebo
		newest time.Time
	}{
		"of the image":          {PlaceboFilter{Image: "img"}, []assay.Placebo{fourth, first}, day.Add(time.Hour)},
		"and of a scope":        {PlaceboFilter{Image: "img", Scope: "mine"}, []assay.Placebo{fourth, second, first}, day.Add(time.Hour)},
		"of any scope":          {PlaceboFilter{Image: "img", Scope: "*"}, []assay.Placebo{fourth, third, second, first}, day.Add(time.Hour)},
		"the newest":            {PlaceboFilter{Image: "img", Limit: 1}, []assay.Placebo{fourth}, day.Add(time.Hour)},
		"of an unknown image":   {PlaceboFilter{Image: "none"}, nil, time.Time{}},
		"of an unknown scope":   {PlaceboFilter{Image: "other", Scope: "x"}, []assay.Placebo{placeboOf("other", "", 5, "/a")}, day},
		"an image of no digest": {PlaceboFilter{}, nil, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, newest, err := db.Placebos(t.Context(), tt.filter)
			must(t, err)
			same(t, got, tt.want)
			if !newest.Equal(tt.newest) {
				t.Errorf("newest %v, wanted %v", newest, tt.newest)
			}
		})
	}
	images, err := db.PlaceboImages(t.Context())
	must(t, err)
	if len(images) != 2 || images[0].Name != "debian-12" || images[0].Placebos != 4 || images[0].Longest != 40 {
		t.Errorf("got %+v", images)
	}
	got := query(t, db, "SELECT key, seen, placebos, shortest FROM noise WHERE image_digest = 'img' ORDER BY key")
	same(t, got, [][]any{{"/a", int64(1), int64(2), 10.0}, {"/b", int64(1), int64(2), 10.0}})

	n, err := db.Forget("img")
	must(t, err)
	if left, _, _ := db.Placebos(t.Context(), PlaceboFilter{Image: "img", Scope: "*"}); n != 4 || len(left) != 0 {
		t.Errorf("forgot %d, %d are left", n, len(left))
	}
	if left, _, _ := db.Placebos(t.Context(), PlaceboFilter{Image: "other"}); len(left) != 1 {
		t.Error("forgot another image")
	}
}

// The time between two captures is that between the end of one and the begin of
// the other, in the cell's last run that compared any.
func TestComparedSeconds(t *testing.T) {
	db := openTemp(t)
	cell := func(started time.Time, after float64) *assay.Cell {
		c := idle("12", started)
		c.Steps = []assay.Step{{Seq: 1, Verb: "capture", Start: 2, Seconds: 1}, {Seq: 2, Verb: "capture", Start: after, Seconds: 1}}
		c.Captures = []assay.Capture{{ID: 1, Step: 1}, {ID: 2, Step: 2}}
		c.Diffs = []assay.Diff{{ID: 1, Before: 1, After: 2}}
		return c
	}
	seconds := func(want float64) {
		t.Helper()
		got, err := db.ComparedSeconds(t.Context(), idle("12", day).ID)
		must(t, err)
		if got != want {
			t.Errorf("got %v, wanted %v", got, want)
		}
	}
	seconds(0)
	record(t, db, runOf("r1", day, cell(day, 100)))
	seconds(97)
	record(t, db, runOf("r2", day.Add(time.Hour), cell(day.Add(time.Hour), 13)))
	seconds(10)
	record(t, db, runOf("r3", day.Add(2*time.Hour), idle("12", day.Add(2*time.Hour))))
	seconds(10)
}

// A database of the first schema keeps its rows and learns about placebos.
func TestMigrateFromFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	text, err := migrationFiles.ReadFile("migrations/0001.sql")
	must(t, err)
	must(t, fill(path, "PRAGMA application_id = 1634956153; PRAGMA user_version = 1;"+string(text)))
	w := writer(path)
	_, err = w.Exec("INSERT INTO run(id, name, started, seconds, version, host_name, host_os, host_arch, host_cpus, host_memory) VALUES (1, 'old', '2026-11-23T13:00:09.000000000Z', 1, '0', 'h', 'l', 'a', 1, 1)")
	must(t, errors.Join(err, w.Close()))
	db := openAt(t, path)
	run, err := db.Run("old")
	must(t, err)
	if run.Version != "0" {
		t.Errorf("got %+v", run)
	}
	want := runOf("new", day.Add(time.Hour), idle("12", day.Add(time.Hour), placeboOf("img", "s", 1, "/a")))
	record(t, db, want)
	got, err := db.Run("new")
	must(t, err)
	same(t, got, want)
}
