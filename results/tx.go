package results

import (
	"database/sql"
	"errors"

	"assay"
)

// A tx is one write transaction. The first error sticks and the rest does
// nothing, so that code which writes many rows reads like a list.
type tx struct {
	*sql.Tx
	err   error
	words map[string]int64 // ids looked up in this transaction
}

// errReadOnly is what recording into a DB of OpenReadOnly returns.
var errReadOnly = errors.New("opened for reading only")

// record runs write in a transaction and commits it.
func (db *DB) record(write func(*tx)) error {
	if db.write == nil {
		return explain(db.path, errReadOnly)
	}
	begun, err := db.write.Begin()
	if err != nil {
		return explain(db.path, err)
	}
	defer begun.Rollback()
	t := &tx{Tx: begun, words: map[string]int64{}}
	if write(t); t.err == nil {
		t.err = begun.Commit()
	}
	return explain(db.path, t.err)
}

// note keeps the first error.
func (t *tx) note(err error) {
	if t.err == nil {
		t.err = err
	}
}

// exec runs a statement and returns the id of the row it inserted.
func (t *tx) exec(query string, args ...any) int64 {
	if t.err != nil {
		return 0
	}
	result, err := t.Exec(query, args...)
	if t.note(err); err != nil {
		return 0
	}
	id, err := result.LastInsertId()
	t.note(err)
	return id
}

// find scans the first row of a query and reports whether there was one.
func (t *tx) find(to []any, query string, args ...any) bool {
	if t.err != nil {
		return false
	}
	err := t.QueryRow(query, args...).Scan(to...)
	if errors.Is(err, sql.ErrNoRows) {
		return false
	}
	t.note(err)
	return err == nil
}

// id returns what a select of one id finds; when it finds none, it inserts.
func (t *tx) id(selects, inserts string, args ...any) int64 {
	var id int64
	if t.find([]any{&id}, selects, args...) {
		return id
	}
	return t.exec(inserts, args...)
}

// word returns the id of text in the dictionary.
func (t *tx) word(text string) int64 {
	id, ok := t.words[text]
	if !ok {
		id = t.id("SELECT id FROM word WHERE text=?", "INSERT INTO word(text) VALUES(?)", text)
		t.words[text] = id
	}
	return id
}

// target returns the id of a place where cells run.
func (t *tx) target(os assay.OS, driver string) int64 {
	if os.Key == "" {
		os.Key = assay.VersionKey(os.Version)
	}
	return t.id("SELECT id FROM target WHERE os=? AND version_key=? AND version=? AND arch=? AND driver=?",
		"INSERT INTO target(os, version_key, version, arch, driver) VALUES(?,?,?,?,?)",
		os.ID, os.Key, os.Version, os.Arch, driver)
}

// image returns the id of an image.
func (t *tx) image(name, digest string) int64 {
	return t.id("SELECT id FROM image WHERE name=? AND digest=?", "INSERT INTO image(name, digest) VALUES(?,?)", name, digest)
}
