package results

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay"
)

// query returns the rows of a query that must succeed.
func query(t *testing.T, db *DB, text string, args ...any) [][]any {
	t.Helper()
	rows, err := db.Query(context.Background(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rows.Values
}

func TestQueryValues(t *testing.T) {
	db := openTemp(t)
	rows, err := db.Query(context.Background(), "SELECT 1 AS n, 2.5 AS x, 'ä' AS s, x'00ff' AS b, NULL AS z, ? AS a; -- done", "arg")
	must(t, err)
	same(t, rows.Columns, []string{"n", "x", "s", "b", "z", "a"})
	same(t, rows.Values, [][]any{{int64(1), 2.5, "ä", []byte{0, 255}, nil, "arg"}})
}

// Whatever is asked, a query changes nothing, opens nothing and runs alone.
func TestQueryCannotHarm(t *testing.T) {
	db := openTemp(t)
	record(t, db, runOf("r1", day, one("a.star", "12", "s", assay.Pass, 90, day)))
	dir := filepath.Dir(db.Path())
	before := listing(t, dir)
	for _, text := range []string{
		"INSERT INTO word(text) VALUES('x')",
		"UPDATE run SET name = 'x'",
		"DELETE FROM run",
		"DROP TABLE run",
		"CREATE TABLE x(y)",
		"CREATE TEMP TABLE x(y)",
		"CREATE TEMP VIEW x AS SELECT 1",
		"ATTACH '" + filepath.Join(dir, "other.db") + "' AS o",
		"VACUUM",
		"VACUUM INTO '" + filepath.Join(dir, "copy.db") + "'",
		"REINDEX",
		"ANALYZE",
		"BEGIN",
		"SAVEPOINT s",
		"PRAGMA user_version = 9",
		"PRAGMA query_only = 0",
		"PRAGMA journal_mode = DELETE",
		"PRAGMA writable_schema = 1",
		"PRAGMA wal_checkpoint(TRUNCATE)",
		"PRAGMA application_id = 1",
		"SELECT load_extension('x')",
		"WITH x AS (SELECT 1) DELETE FROM run",
	} {
		if rows, err := db.Query(context.Background(), text); err == nil {
			t.Errorf("%s: gave %v, wanted a refusal", text, rows.Values)
		} else if strings.Contains(err.Error(), "syntax") {
			t.Errorf("%s: %v: this proves nothing", text, err)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	same(t, query(t, db, "SELECT run, verdict FROM runs"), [][]any{{"r1", "pass"}})
	record(t, db, runOf("r2", day, one("a.star", "12", "s", assay.Pass, 90, day))) // the writer still writes
}

// listing returns the names and sizes of the files in dir.
func listing(t *testing.T, dir string) (text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		text += fmt.Sprintln(e.Name(), info.Size())
	}
	return text
}

func TestQueryRefusesSeveral(t *testing.T) {
	db := openTemp(t)
	for text, n := range map[string]int{
		"":                                      0,
		" ; -- nothing\n/* ; */":                0,
		"SELECT 1; SELECT 2":                    2,
		"SELECT 1;; SELECT 2;":                  2,
		"SELECT ';' ; DELETE FROM run":          2,
		"SELECT ';', \";\" AS [;], 1 /* ; */ ;": 1,
		"SELECT 'it''s; fine' -- ; x":           1,
		"SELECT 4/2-1":                          1,
		"SELECT '":                              1, // SQLite's own error
	} {
		_, err := db.Query(context.Background(), text)
		if n != 1 {
			expect(t, err, fmt.Sprintf("got %d statements, wanted one", n))
		} else if err != nil && strings.Contains(err.Error(), "statements") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestQueryIsBounded(t *testing.T) {
	db := openTemp(t)
	endless := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT "
	rows, err := db.Query(context.Background(), endless+"i FROM n")
	must(t, err)
	if len(rows.Values) != MaxRows || !rows.Truncated {
		t.Errorf("got %d rows, truncated %v, wanted %d", len(rows.Values), rows.Truncated, MaxRows)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := db.Query(ctx, endless+"count(*) FROM n"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, wanted the deadline", err)
	}
	expect(t, second(db.Query(context.Background(), "SELECT zeroblob(1000000000)")), "too big")
	expect(t, second(db.Query(context.Background(), "SELECT nought FROM runs")), "no such column: nought")
}
