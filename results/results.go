// Package results stores runs in SQLite and answers questions about them.
//
// It is the only room that says "sql". It knows the words of package assay, the
// schema and the store of artifacts beside the database; it knows no machine,
// no script and no report. What it stores it gives back complete: Run returns
// what was recorded.
package results

import (
	"context"
	"errors"
	"time"

	"assay"
)

// A DB is an open results database and the artifacts beside it.
type DB struct{}

// Open opens the database at path for reading and writing.
func Open(path string) (*DB, error) { return nil, errors.ErrUnsupported }

// OpenReadOnly opens the database at path for reading.
func OpenReadOnly(path string) (*DB, error) { return nil, errors.ErrUnsupported }

// Close closes the database.
func (db *DB) Close() error { return errors.ErrUnsupported }

// StartRun records that a run began.
func (db *DB) StartRun(run assay.Run) error { return errors.ErrUnsupported }

// StartCell records that a cell began.
func (db *DB) StartCell(runID string, c *assay.Cell) error { return errors.ErrUnsupported }

// FinishCell records a cell.
func (db *DB) FinishCell(runID string, c *assay.Cell) error { return errors.ErrUnsupported }

// FinishRun records how a run ended.
func (db *DB) FinishRun(run assay.Run) error { return errors.ErrUnsupported }

// Interrupted closes a run whose process died.
func (db *DB) Interrupted(runID string) error { return errors.ErrUnsupported }

// Run returns a run as recorded.
func (db *DB) Run(id string) (assay.Run, error) { return assay.Run{}, errors.ErrUnsupported }

// A RunFilter chooses runs. Empty fields choose all.
type RunFilter struct {
	Script  string        // glob on the script's name
	Since   time.Time     // started at or after
	Verdict assay.Verdict // of the run
}

// Runs returns the newest runs, newest first; limit 0 means all.
func (db *DB) Runs(limit int, f RunFilter) ([]assay.RunSummary, error) {
	return nil, errors.ErrUnsupported
}

// A TrendQuery chooses what Trend shows. Empty fields choose all.
type TrendQuery struct {
	Script  string    // glob on the script's name
	Test    string    // glob
	Subject string    // glob
	OS      string    // glob on "debian-12" or "debian"
	Driver  string    // name
	Since   time.Time // cells started at or after
	Metric  string    // score (default), letter, seconds, findings, boot
	By      string    // test (default), axis, rule
	Last    int       // points a cell; default 20
}

// Trend answers by OS version over time.
func (db *DB) Trend(q TrendQuery) (assay.Trend, error) { return assay.Trend{}, errors.ErrUnsupported }

// Rows is a query's answer.
type Rows struct {
	Columns   []string
	Values    [][]any // int64, float64, string, []byte or nil
	Truncated bool    // there were more rows than MaxRows
}

// Query runs one SELECT.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	return nil, errors.ErrUnsupported
}

// Artifact returns the path of the artifact with a digest.
func (db *DB) Artifact(digest string) (string, error) { return "", errors.ErrUnsupported }
