// Package results stores runs in SQLite and answers questions about them.
//
// It is the only room that says "sql". It knows the words of package assay, the
// schema and the store of artifacts beside the database; it knows no machine,
// no script and no report. What it stores it gives back complete: Run returns
// what was recorded.
package results

import (
	"database/sql"
	"errors"
	"path/filepath"
	"time"
)

// A DB is an open results database and the artifacts beside it. It is safe for
// concurrent use, also by several processes: writers wait for one another.
type DB struct {
	path  string
	write *sql.DB // one connection; nil when opened for reading
	read  *sql.DB // connections for our own questions
	ask   *sql.DB // connections for the user's: they can do nothing but read, whatever they are told
}

// busyTimeout is how long a writer waits for the writers of other processes.
const busyTimeout = 20 * time.Second

// Open opens the database at path for reading and writing. A missing one is
// made, with its folder; an older one is migrated. A file that is damaged, made
// by a newer assay or not ours is an *Error and stays as it is, byte for byte.
// The caller closes the DB.
func Open(path string) (*DB, error) {
	if err := create(path); err != nil {
		return nil, explain(path, err)
	}
	version, err := inspect(path)
	if err != nil {
		return nil, explain(path, err)
	}
	db := &DB{path: path, write: writer(path), read: reader(path, false, nil), ask: reader(path, false, confine)}
	if err = db.write.Ping(); err == nil && version < latestVersion {
		err = migrate(db.write, migrations)
	}
	if err != nil {
		return nil, explain(path, errors.Join(err, db.Close()))
	}
	return db, nil
}

// OpenReadOnly opens the database at path for reading; the recording methods
// return an error. A missing file is an *Error that says how to make one. The
// caller closes the DB.
func OpenReadOnly(path string) (*DB, error) {
	version, err := inspect(path)
	if err == nil && version < latestVersion {
		err = &Error{Reason: "made by an older assay", Remedy: "run it once with \"assay run\", which brings it up to date"}
	}
	if err != nil {
		return nil, explain(path, err)
	}
	immutable := settled(path)
	return &DB{path: path, read: reader(path, immutable, nil), ask: reader(path, immutable, confine)}, nil
}

// Close closes the database.
func (db *DB) Close() error {
	err := errors.Join(db.read.Close(), db.ask.Close())
	if db.write != nil {
		err = errors.Join(db.write.Close(), err)
	}
	return err
}

// Path returns the path that the database was opened with.
func (db *DB) Path() string { return db.path }

// artifacts returns the folder that holds the artifacts.
func (db *DB) artifacts() string { return filepath.Join(filepath.Dir(db.path), "artifacts") }
