package results

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mattn/go-sqlite3"

	"assay"
)

// applicationID marks our files; the schema sets it.
const applicationID = 0x61737379

// A connector opens connections of one kind to one file.
type connector struct {
	dsn    string
	driver *sqlite3.SQLiteDriver
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c connector) Driver() driver.Driver                        { return c.driver }

// dsn returns the address of the file at path with options.
func dsn(path string, options map[string]string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	values := url.Values{}
	for k, v := range options {
		values.Set(k, v)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + values.Encode()
}

// writer returns the one connection that writes. Transactions take the write
// lock when they begin, so that two writers wait and never deadlock.
func writer(path string) *sql.DB {
	db := sql.OpenDB(connector{dsn(path, map[string]string{
		"mode":             "rw",
		"_busy_timeout":    fmt.Sprint(busyTimeout.Milliseconds()),
		"_foreign_keys":    "1",
		"_synchronous":     "NORMAL",
		"_txlock":          "immediate",
		"_stmt_cache_size": "64",
	}), &sqlite3.SQLiteDriver{}})
	db.SetMaxOpenConns(1)
	return db
}

// reader returns connections that read, each prepared by hook. immutable
// promises that nobody writes, which is how a file in a read-only folder is read.
func reader(path string, immutable bool, hook func(*sqlite3.SQLiteConn) error) *sql.DB {
	options := map[string]string{
		"mode":          "ro",
		"_busy_timeout": fmt.Sprint(busyTimeout.Milliseconds()),
		"_query_only":   "1",
	}
	if immutable {
		options["immutable"] = "1"
	}
	db := sql.OpenDB(connector{dsn(path, options), &sqlite3.SQLiteDriver{ConnectHook: hook}})
	db.SetMaxOpenConns(4)
	return db
}

// settled reports whether the file at path has no writer and lies in a folder
// where SQLite cannot put its shared memory.
func settled(path string) bool {
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		return false
	}
	probe, err := os.CreateTemp(filepath.Dir(path), ".probe-*")
	if err != nil {
		return true
	}
	defer os.Remove(probe.Name())
	return probe.Close() != nil
}

// create makes an empty database at path, unless there is a file already. It
// is made beside path and linked into place, so that a killed process leaves no
// half-made one and two processes do not meet.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(folder, ".results-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	fresh := filepath.Join(scratch, "results.db")
	if err := fill(fresh, assay.Schema); err != nil {
		return err
	}
	if err := os.Link(fresh, path); errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	} else if err == nil {
		return nil
	}
	return os.Rename(fresh, path) // a file system without hard links
}

// fill makes a database at path from a schema.
func fill(path, schema string) error {
	db := sql.OpenDB(connector{dsn(path, map[string]string{"mode": "rwc"}), &sqlite3.SQLiteDriver{}})
	db.SetMaxOpenConns(1)
	_, err := db.Exec("PRAGMA journal_mode = WAL")
	if err == nil {
		_, err = db.Exec("BEGIN;\n" + schema + "\nCOMMIT;")
	}
	return errors.Join(err, db.Close())
}

// inspect returns the schema version of the file at path and refuses, without
// changing a byte, what we cannot use.
func inspect(path string) (int, error) {
	if err := inspectHeader(path); err != nil {
		return 0, err
	}
	db := reader(path, settled(path), nil)
	defer db.Close()
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	if err := newer(version); err != nil {
		return 0, err
	}
	return version, inspectPages(path, db)
}

// inspectHeader looks at the first 100 bytes, before SQLite sees the file: it
// may be anything, and SQLite would recover, and so write, a file with a log.
func inspectHeader(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Error{Reason: "no results yet", Remedy: `"assay run SCRIPT" makes them`, missing: true}
	case err != nil:
		return err
	case info.IsDir():
		return &Error{Reason: "a folder, not a database", Remedy: "use --db with a file, such as " + filepath.Join(path, "results.db")}
	case !info.Mode().IsRegular():
		return remedies[codeNotADB].because(nil)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil || !bytes.HasPrefix(header, []byte("SQLite format 3\x00")) {
		return remedies[codeNotADB].because(nil)
	}
	if id := binary.BigEndian.Uint32(header[68:]); id != applicationID {
		return &Error{Reason: "a SQLite file that assay did not make", Remedy: "use --db with another file"}
	}
	if err := newer(int(binary.BigEndian.Uint32(header[60:]))); err != nil {
		return err
	}
	return whole(f, header)
}

// whole refuses a file that is shorter than its header says.
func whole(f *os.File, header []byte) error {
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 65536
	}
	want := page * int64(binary.BigEndian.Uint32(header[28:]))
	if info, err := f.Stat(); err != nil || info.Size() < want {
		return damaged(fmt.Errorf("%d bytes, its header says %d", info.Size(), want))
	}
	return nil
}

// newer refuses a schema version that this assay does not know.
func newer(version int) error {
	if version <= latestVersion {
		return nil
	}
	return &Error{
		Reason: fmt.Sprintf("made by a newer assay (schema %d, this one knows %d)", version, latestVersion),
		Remedy: "upgrade assay or use --db",
	}
}

// checkedSize is the size up to which every page is checked when a database is
// opened; more would be felt.
const checkedSize = 16 << 20

// inspectPages refuses a file whose pages do not fit together.
func inspectPages(path string, db *sql.DB) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() > checkedSize {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	var first string
	start := time.Now()
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&first); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("check: no answer in %v", time.Since(start).Round(time.Second))
		}
		return err
	}
	if first != "ok" {
		return damaged(errors.New(strings.Join(strings.Fields(strings.TrimPrefix(first, "*** in database main ***")), " ")))
	}
	return nil
}

// damaged returns the refusal of a damaged file.
func damaged(cause error) error {
	return remedies[codeCorrupt].because(cause)
}
