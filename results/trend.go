package results

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"assay"
)

// A TrendQuery chooses what Trend shows. Empty fields choose all.
type TrendQuery struct {
	Script  string    // glob on the script's name
	Test    string    // glob
	Subject string    // glob
	OS      string    // glob on "debian-12" or "debian"
	Driver  string    // name
	Since   time.Time // cells started at or after
	Metric  string    // one of TrendMetrics; score when empty, which by rule means findings; by metric a glob on its name, all when empty or score
	By      string    // one of TrendRows; test when empty
	Columns string    // one of TrendColumns; os when empty
	Last    int       // points a cell; 20 when 0
}

// The words that a TrendQuery knows.
var (
	TrendMetrics = []string{"score", "letter", "seconds", "findings", "boot"}
	TrendRows    = []string{"test", "axis", "rule", "metric"}
	TrendColumns = []string{"os", "version"}
)

// trendValues are the columns that hold a metric. A letter is shown for a
// score. By axis there is the axis' own score, by rule the number of findings.
var trendValues = map[string]string{
	"test score": "t.score", "test letter": "t.score", "test seconds": "t.seconds", "test findings": "t.findings", "test boot": "t.boot_seconds",
	"axis score":    "a.score",
	"metric score":  "a.value",
	"rule findings": "(SELECT count(*) FROM finding f WHERE f.cell = t.cell_id AND f.grade = t.grade AND f.rule = a.rule AND f.waived IS NULL)",
}

// trendNames join the names of the rows to the view trend. A rule that has
// spoken once about a subject is counted in all its grades, also where it is 0.
var trendNames = map[string]string{
	"test": "JOIN (SELECT '' AS name) a",
	"axis": "JOIN axis a ON a.cell = t.cell_id AND a.grade = t.grade",
	// A metric that a cell has several times counts as its mean.
	"metric": `JOIN (SELECT m.cell, w.text AS name, avg(m.value) AS value FROM metric m JOIN word w ON w.id = m.name GROUP BY m.cell, w.text) a
		ON a.cell = t.cell_id AND a.name GLOB ?8`,
	"rule": `JOIN (SELECT DISTINCT f.rule, w.text AS name, c.script AS script_id, g.subject AS subject_id FROM finding f
		JOIN cell c ON c.id = f.cell JOIN grade g ON g.cell = f.cell AND g.id = f.grade JOIN word w ON w.id = f.rule WHERE f.waived IS NULL) a
		ON t.grade IS NOT NULL AND a.script_id = (SELECT id FROM word WHERE text = t.script) AND a.subject_id = (SELECT id FROM word WHERE text = t.subject)`,
}

// trendPlaces are what a column is: its OS, version and key, what of it goes to
// the row instead, and how the view trend comes to know.
var trendPlaces = map[string]struct{ os, version, key, place, join string }{
	"os": {"t.os", "t.version", "t.version_key", "''", ""},
	"version": {"'assay'", "v.version", "v.first", "rtrim(t.os || '-' || t.version, '-')",
		"JOIN (SELECT name, version, min(started) OVER (PARTITION BY version) AS first FROM run) v ON v.name = t.run"},
}

// Trend answers by OS version or by version of assay, and over time: a row for
// each test, subject and driver (and axis, rule or metric), a column for each
// version in order, and in each cell the last points, oldest first.
func (db *DB) Trend(q TrendQuery) (assay.Trend, error) {
	q.Metric, q.By, q.Columns, q.Last = cmp.Or(q.Metric, "score"), cmp.Or(q.By, "test"), cmp.Or(q.Columns, "os"), cmp.Or(q.Last, 20)
	sql, name, err := q.sql()
	if err != nil {
		return assay.Trend{}, err
	}
	builder := trendBuilder{rows: map[assay.TrendColumn]map[string][]assay.TrendPoint{}, heads: map[string]assay.TrendRow{}}
	err = each(db.read, sql, builder.scan, q.Script, q.Test, q.Subject, q.OS, q.Driver, moment(q.Since), q.Last, name)
	if err != nil {
		return assay.Trend{}, explain(db.path, err)
	}
	trend := builder.trend()
	trend.Metric, trend.By = q.Metric, q.By
	return trend, nil
}

// sql returns the question, and the glob on the names of metrics that is its
// last argument. It settles what the metric is.
func (q *TrendQuery) sql() (text, name string, err error) {
	metric := q.Metric
	switch {
	case q.By == "metric" && metric == "score":
		name, q.Metric = "*", "*"
	case q.By == "metric":
		name, metric = metric, "score"
	case q.By == "rule" && metric == "score":
		metric, q.Metric = "findings", "findings" // a rule has no score of its own
	}
	value, ok := trendValues[q.By+" "+metric]
	if !ok {
		return "", "", fmt.Errorf("trend: %s by %s: not known; metrics are %v by test, score by axis, findings by rule, any by metric", q.Metric, q.By, TrendMetrics)
	}
	c, ok := trendPlaces[q.Columns]
	if !ok {
		return "", "", fmt.Errorf("trend: columns: got %q, want one of %v", q.Columns, TrendColumns)
	}
	place := c.place + ", t.driver, t.arch, " + c.os + ", " + c.key + ", " + c.version
	return `
SELECT script, test, variant, subject, name, place, driver, arch, os, version, version_key, run, started, verdict,
       CASE WHEN name = '' THEN letter END, value
FROM (SELECT t.script, t.test, t.variant, t.subject, t.driver, t.arch, t.run, t.started, t.verdict, t.letter,
        a.name, ` + c.place + ` AS place, ` + c.os + ` AS os, ` + c.version + ` AS version, ` + c.key + ` AS version_key, ` + value + ` AS value,
        row_number() OVER (PARTITION BY t.script, t.test, t.variant, t.subject, a.name, ` + place + `
                           ORDER BY t.started DESC, t.cell_id DESC) AS age
      FROM trend t ` + trendNames[q.By] + " " + c.join + `
      WHERE (?1 = '' OR t.script GLOB ?1) AND (?2 = '' OR t.test GLOB ?2) AND (?3 = '' OR t.subject GLOB ?3)
        AND (?4 = '' OR t.os GLOB ?4 OR t.os || '-' || t.version GLOB ?4) AND (?5 = '' OR t.driver = ?5) AND t.started >= ?6)
WHERE age <= ?7 AND (?8 = '' OR name GLOB ?8) ORDER BY started, run`, name, nil
}

// A trendBuilder gathers points and lays them out when all are there.
type trendBuilder struct {
	rows  map[assay.TrendColumn]map[string][]assay.TrendPoint // by column, then row
	heads map[string]assay.TrendRow                           // what a row is about, by its name
}

// scan adds the point of one row of the query.
func (b *trendBuilder) scan(r *sql.Rows) error {
	var (
		row    assay.TrendRow
		column assay.TrendColumn
		point  assay.TrendPoint
		letter sql.NullString
		value  sql.NullFloat64
	)
	err := r.Scan(&row.Script, &row.Test, &row.Variant, &row.Subject, &row.Name, &row.Place, &row.Driver, &row.Arch,
		&column.OS, &column.Version, &column.Key, &point.Run, scanTime{&point.Started}, &point.Verdict, &letter, &value)
	point.Letter, point.Value, point.Known = letter.String, value.Float64, value.Valid
	name := fmt.Sprintf("%q", []string{row.Script, row.Test, row.Variant, row.Subject, row.Name, row.Place, row.Driver, row.Arch})
	b.heads[name] = row
	if b.rows[column] == nil {
		b.rows[column] = map[string][]assay.TrendPoint{}
	}
	b.rows[column][name] = append(b.rows[column][name], point)
	return err
}

// trend lays out rows and columns, sorted.
func (b *trendBuilder) trend() (t assay.Trend) {
	for column := range b.rows {
		t.Columns = append(t.Columns, column)
	}
	slices.SortFunc(t.Columns, func(x, y assay.TrendColumn) int {
		return cmp.Or(cmp.Compare(x.OS, y.OS), cmp.Compare(x.Key, y.Key), cmp.Compare(x.Version, y.Version))
	})
	names := make([]string, 0, len(b.heads))
	for name := range b.heads {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row := b.heads[name]
		for _, column := range t.Columns {
			row.Cells = append(row.Cells, assay.TrendCell{Points: b.rows[column][name]})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
