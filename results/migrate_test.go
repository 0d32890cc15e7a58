package results

import (
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"assay"
)

// A fresh database equals one that went through every migration in turn.
func TestFreshEqualsMigrated(t *testing.T) {
	migrated := filepath.Join(t.TempDir(), "migrated.db")
	must(t, fill(migrated, "PRAGMA application_id = 1634956153;"))
	db := writer(migrated)
	defer db.Close()
	must(t, migrate(db, migrations))
	fresh := openTemp(t)
	same(t, schemaOf(t, db), schemaOf(t, fresh.write))
	var version int
	must(t, db.QueryRow("PRAGMA user_version").Scan(&version))
	if version != latestVersion {
		t.Errorf("the migrations lead to schema %d, latestVersion is %d", version, latestVersion)
	}
}

// schemaOf returns what a database consists of, without comments and layout:
// ALTER TABLE writes its columns in a layout of its own.
func schemaOf(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	comments, space := regexp.MustCompile(`--[^\n]*`), regexp.MustCompile(`\s+|([(),])`)
	schema := map[string]string{}
	must(t, each(db, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema", func(r *sql.Rows) error {
		var kind, name, text string
		err := r.Scan(&kind, &name, &text)
		text = space.ReplaceAllString(comments.ReplaceAllString(text, ""), " $1 ")
		schema[kind+" "+name] = strings.Join(strings.Fields(text), " ")
		return err
	}))
	return schema
}

// nextName is the file of a migration that is not there yet.
func nextName(n int) string { return fmt.Sprintf("%04d.sql", latestVersion+n) }

// next is a migration that only the tests know.
var next = fstest.MapFS{nextName(1): {Data: []byte("ALTER TABLE run ADD COLUMN label TEXT; DROP VIEW checks; CREATE VIEW labels AS SELECT label FROM run;")}}

// A migration keeps the rows, runs once for all who ask, and leads to the schema.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	db := openAt(t, path)
	want := runOf("r1", day, one("a.star", "12", "s", assay.Pass, 90, day))
	record(t, db, want)
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w := writer(path)
			defer w.Close()
			if err := migrate(w, next); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	var version int
	must(t, db.write.QueryRow("PRAGMA user_version").Scan(&version))
	if version != latestVersion+1 {
		t.Errorf("schema %d, wanted %d", version, latestVersion+1)
	}
	got, err := db.Run("r1")
	must(t, err)
	same(t, got, want)
	expect(t, second(Open(path)), fmt.Sprintf("made by a newer assay (schema %d, this one knows %d)", latestVersion+1, latestVersion))
}

// A migration that fails half-way changes nothing.
func TestMigrateFails(t *testing.T) {
	db := openTemp(t)
	before := schemaOf(t, db.write)
	bad := fstest.MapFS{nextName(1): next[nextName(1)], nextName(2): {Data: []byte("CREATE TABLE x(y); CREATE TABLE run(z);")}}
	expect(t, migrate(db.write, bad), fmt.Sprintf("migrate to schema %d: ", latestVersion+2))
	same(t, schemaOf(t, db.write), before)
	var version, keys int
	must(t, db.write.QueryRow("PRAGMA user_version").Scan(&version))
	must(t, db.write.QueryRow("PRAGMA foreign_keys").Scan(&keys))
	if version != latestVersion || keys != 1 {
		t.Errorf("schema %d, foreign keys %d, wanted %d and 1", version, keys, latestVersion)
	}
}

// Every file has a number and none is missing.
func TestMigrationNames(t *testing.T) {
	names, err := fs.Glob(migrations, "*.sql")
	must(t, err)
	if len(names) != latestVersion || names[len(names)-1] != nextName(0) {
		t.Errorf("%v, wanted one for each of %d versions", names, latestVersion)
	}
}
