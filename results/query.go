package results

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// Rows is a query's answer.
type Rows struct {
	Columns   []string
	Values    [][]any // int64, float64, string, []byte or nil
	Truncated bool    // there were more than MaxRows rows or MaxBytes bytes
}

// The bounds of one answer.
const (
	MaxRows  = 100_000
	MaxBytes = 256 << 20 // of strings
)

// maxValue is the size of the longest string that a query may build.
const maxValue = 64 << 20

// Query runs one statement that reads: a SELECT, VALUES, WITH, EXPLAIN or a
// PRAGMA that describes a table. Whatever would write, open another file or run
// a second statement is refused. args are for the ? of the query. When ctx ends,
// the query stops with its error.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	statement, err := single(query)
	if err != nil {
		return nil, err
	}
	rows, err := db.ask.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, db.refusal(ctx, err)
	}
	defer rows.Close()
	answer := &Rows{}
	if answer.Columns, err = rows.Columns(); err != nil {
		return nil, db.refusal(ctx, err)
	}
	if err := answer.fill(rows); err != nil {
		return nil, db.refusal(ctx, err)
	}
	return answer, nil
}

// fill scans the rows, up to the bounds.
func (a *Rows) fill(rows *sql.Rows) error {
	bytes := 0
	for rows.Next() {
		if a.Truncated = len(a.Values) >= MaxRows || bytes >= MaxBytes; a.Truncated {
			return nil
		}
		row, to := make([]any, len(a.Columns)), make([]any, len(a.Columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		for _, v := range row {
			bytes += size(v)
		}
		a.Values = append(a.Values, row)
	}
	return rows.Err()
}

// size returns how many bytes a value takes.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 8
}

// refusal says in the words of a user why SQLite did not answer.
func (db *DB) refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("query: no answer in time: %w; add a WHERE or a LIMIT", ctx.Err())
	}
	code, ok := codeOf(err)
	if !ok {
		return fmt.Errorf("query: %w", err)
	}
	switch code {
	case codeAuth, codeReadonly:
		return fmt.Errorf("query: only reading is allowed: %w", err)
	case codeError:
		return fmt.Errorf(`query: %w; "SELECT name, sql FROM sqlite_schema" lists what there is`, err)
	}
	return explain(db.path, err)
}

// single returns the one statement of a query, without what follows it, and
// refuses a query that is not exactly one. The driver would run them all.
func single(query string) (statement string, err error) {
	statements := 0
	for rest, more := query, true; more; {
		text := rest
		var some bool
		if some, rest, more = cutStatement(text); some {
			statement = strings.TrimSuffix(strings.TrimSuffix(text, rest), ";")
			statements++
		}
	}
	if statements != 1 {
		return "", fmt.Errorf("query: got %d statements, wanted one", statements)
	}
	return statement, nil
}

// cutStatement looks for the semicolon that ends the first statement of text:
// one outside strings and comments. some reports whether the statement holds
// anything, and more whether text goes on after it.
func cutStatement(text string) (some bool, rest string, more bool) {
	for i := 0; i < len(text); {
		switch n := skip(text[i:]); {
		case text[i] == ';':
			return some, text[i+1:], true
		case n > 0:
			some = some || text[i] != '-' && text[i] != '/'
			i += n
		default:
			some = some || !strings.ContainsRune(" \t\r\n\f", rune(text[i]))
			i++
		}
	}
	return some, "", false
}

// skip returns the length of the string, quoted name or comment that text
// begins with; 0 when it begins with something else.
func skip(text string) int {
	for _, q := range [][2]string{{"--", "\n"}, {"/*", "*/"}, {"'", "'"}, {`"`, `"`}, {"`", "`"}, {"[", "]"}} {
		if !strings.HasPrefix(text, q[0]) {
			continue
		}
		if end := strings.Index(text[len(q[0]):], q[1]); end >= 0 {
			return len(q[0]) + end + len(q[1])
		}
		return len(text)
	}
	return 0
}

// describing are the pragmas that only tell about tables.
var describing = []string{
	"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
	"user_version", "application_id", "quick_check", "integrity_check", "compile_options", "database_list",
}
