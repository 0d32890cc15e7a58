//go:build cgo

package results

import (
	"errors"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"
)

// codeOf returns SQLite's code of an error; ok is false if it is none of SQLite's.
func codeOf(err error) (c code, ok bool) {
	var failed sqlite3.Error
	if !errors.As(err, &failed) {
		return 0, false
	}
	return code(failed.Code), true
}

// authRecursive is SQLITE_RECURSIVE, which the driver does not name.
const authRecursive = 33

// confine makes a connection unable to do anything but read its file, whatever
// statement it is given.
func confine(conn *sqlite3.SQLiteConn) error {
	conn.SetLimit(sqlite3.SQLITE_LIMIT_LENGTH, maxValue)
	conn.RegisterAuthorizer(func(action int, first, second, _ string) int {
		switch action {
		case sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, authRecursive:
			return sqlite3.SQLITE_OK
		case sqlite3.SQLITE_FUNCTION:
			if !strings.EqualFold(second, "load_extension") {
				return sqlite3.SQLITE_OK
			}
		case sqlite3.SQLITE_PRAGMA:
			named := second == "" || !strings.HasSuffix(first, "_version") && first != "application_id"
			if named && slices.Contains(describing, strings.ToLower(first)) {
				return sqlite3.SQLITE_OK
			}
		}
		return sqlite3.SQLITE_DENY
	})
	return nil
}
