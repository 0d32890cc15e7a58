package results

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// A column binds one column of a table to one field of a value. It is said once
// and serves both ways, so that nothing can be written and not read back.
type column struct {
	name string        // in the table; empty: read only
	in   func(*tx) any // what to write
	expr string        // what to read, with the table named t; empty: write only
	out  any           // where to scan it
}

// plain is a column that holds the field as it is.
func plain(name string, field any) column {
	return column{name, func(*tx) any { return value(field) }, "t." + name, field}
}

// optional is a column that holds a string, and NULL for none.
func optional[S ~string](name string, field *S) column {
	in := func(*tx) any {
		if *field == "" {
			return nil
		}
		return string(*field)
	}
	return column{name, in, "coalesce(t." + name + ", '')", field}
}

// word is a column that holds the id of a string in the dictionary.
func word(name string, field *string) column {
	return column{name, func(t *tx) any { return t.word(*field) }, "(SELECT text FROM word WHERE id = t." + name + ")", field}
}

// maybe is word for a string that is often empty: NULL then.
func maybe(name string, field *string) column {
	in := func(t *tx) any {
		if *field == "" {
			return nil
		}
		return t.word(*field)
	}
	return column{name, in, "coalesce((SELECT text FROM word WHERE id = t." + name + "), '')", field}
}

// object is a column that holds a slice, map or pointer as JSON in the
// dictionary, and NULL for an empty one.
func object(name string, field any) column {
	in := func(t *tx) any {
		v := reflect.ValueOf(field).Elem()
		if v.IsZero() || v.Kind() != reflect.Pointer && v.Len() == 0 {
			return nil
		}
		text, err := json.Marshal(field)
		t.note(err)
		return t.word(string(text))
	}
	return column{name, in, "(SELECT text FROM word WHERE id = t." + name + ")", scanJSON{field}}
}

// stamp is a column that holds a moment, and NULL for the zero one.
func stamp(name string, field *time.Time) column {
	in := func(*tx) any {
		if field.IsZero() {
			return nil
		}
		return moment(*field)
	}
	return column{name, in, "t." + name, scanTime{field}}
}

// stored is a column that is written and not read.
func stored(name string, in func(*tx) any) column { return column{name: name, in: in} }

// looked is an expression that is read and not written.
func looked(expr string, field any) column { return column{expr: expr, out: field} }

// value returns what field points to. SQLite would store a NaN as NULL, where
// there must be a number.
func value(field any) any {
	if f, ok := field.(*float64); ok && math.IsNaN(*f) {
		return 0.0
	}
	return reflect.ValueOf(field).Elem().Interface()
}

// stampFormat has a fixed width, so that the text sorts as the moments do.
const stampFormat = "2006-01-02T15:04:05.000000000Z"

// moment returns t as the database writes it.
func moment(t time.Time) string { return t.UTC().Format(stampFormat) }

type scanTime struct{ to *time.Time }

func (s scanTime) Scan(v any) (err error) {
	if text, ok := v.(string); ok {
		*s.to, err = time.Parse(stampFormat, text)
	}
	return err
}

type scanJSON struct{ to any }

func (s scanJSON) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	return json.Unmarshal([]byte(text), s.to)
}

// A table binds the rows of one table to values of type T.
type table[T any] struct {
	name    string
	keys    []string // columns that say whose row it is; the caller gives them
	order   string   // of the rows, after the first key
	columns func(*T) []column
}

// insert writes v.
func (tb table[T]) insert(t *tx, v *T, keys ...int64) int64 {
	names, args := tb.bind(t, v)
	for i, k := range tb.keys {
		names, args = append(names, k), append(args, keys[i])
	}
	marks := strings.TrimSuffix(strings.Repeat("?,", len(args)), ",")
	return t.exec("INSERT INTO "+tb.name+"("+strings.Join(names, ",")+") VALUES("+marks+")", args...)
}

// update writes v over the row with an id.
func (tb table[T]) update(t *tx, v *T, id int64) {
	names, args := tb.bind(t, v)
	t.exec("UPDATE "+tb.name+" SET "+strings.Join(names, "=?,")+"=? WHERE id=?", append(args, id)...)
}

// bind returns the columns to write and their values.
func (tb table[T]) bind(t *tx, v *T) (names []string, args []any) {
	for _, c := range tb.columns(v) {
		if c.in != nil {
			names, args = append(names, c.name), append(args, c.in(t))
		}
	}
	return names, args
}

// read calls add with the keys and the value of each row for which where holds.
// arg is the argument of where, or a list of them.
func (tb table[T]) read(q querier, where string, arg any, add func(keys []int64, v *T) error) error {
	var exprs []string
	for _, k := range tb.keys {
		exprs = append(exprs, "t."+k)
	}
	for _, c := range tb.columns(new(T)) {
		if c.out != nil {
			exprs = append(exprs, c.expr)
		}
	}
	rows, err := q.Query(fmt.Sprintf("SELECT %s FROM %s t WHERE %s ORDER BY %s", strings.Join(exprs, ", "), tb.name, where, tb.order), listed(arg)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		v, keys := new(T), make([]int64, len(tb.keys))
		if err := rows.Scan(tb.targets(keys, v)...); err != nil {
			return fmt.Errorf("read %s: %w", tb.name, err)
		}
		if err := add(keys, v); err != nil {
			return err
		}
	}
	return rows.Err()
}

// listed makes a list of one argument.
func listed(arg any) []any {
	if all, ok := arg.([]any); ok {
		return all
	}
	return []any{arg}
}

// targets returns where to scan a row.
func (tb table[T]) targets(keys []int64, v *T) []any {
	var to []any
	for i := range keys {
		to = append(to, &keys[i])
	}
	for _, c := range tb.columns(v) {
		if c.out != nil {
			to = append(to, c.out)
		}
	}
	return to
}

// A querier is a pool, a connection or a transaction.
type querier interface {
	Query(query string, args ...any) (*sql.Rows, error)
}
