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
	Metric  string    // one of TrendMetrics; score when empty, which by rule means findings
	By      string    // one of TrendRows; test when empty
	Last    int       // points a cell; 20 when 0
}

// The words that a TrendQuery knows.
var (
	TrendMetrics = []string{"score", "letter", "seconds", "findings", "boot"}
	TrendRows    = []string{"test", "axis", "rule"}
)

// trendValues are the columns that hold a metric. A letter is shown for a
// score. By axis there is the axis' own score, by rule the number of findings.
var trendValues = map[string]string{
	"test score": "t.score", "test letter": "t.score", "test seconds": "t.seconds", "test findings": "t.findings", "test boot": "t.boot_seconds",
	"axis score":    "a.score",
	"rule findings": "(SELECT count(*) FROM finding f WHERE f.cell = t.cell_id AND f.grade = t.grade AND f.rule = a.rule AND f.waived IS NULL)",
}

// trendNames join the names of the rows to the view trend. A rule that has
// spoken once about a subject is counted in all its grades, also where it is 0.
var trendNames = map[string]string{
	"test": "JOIN (SELECT '' AS name) a",
	"axis": "JOIN axis a ON a.cell = t.cell_id AND a.grade = t.grade",
	"rule": `JOIN (SELECT DISTINCT f.rule, w.text AS name, c.script AS script_id, g.subject AS subject_id FROM finding f
		JOIN cell c ON c.id = f.cell JOIN grade g ON g.cell = f.cell AND g.id = f.grade JOIN word w ON w.id = f.rule WHERE f.waived IS NULL) a
		ON t.grade IS NOT NULL AND a.script_id = (SELECT id FROM word WHERE text = t.script) AND a.subject_id = (SELECT id FROM word WHERE text = t.subject)`,
}

// Trend answers by OS version and over time: a row for each test, subject and
// driver (and axis or rule), a column for each OS version in version order, and
// in each cell the last points, oldest first.
func (db *DB) Trend(q TrendQuery) (assay.Trend, error) {
	q.Metric, q.By, q.Last = cmp.Or(q.Metric, "score"), cmp.Or(q.By, "test"), cmp.Or(q.Last, 20)
	if q.By == "rule" && q.Metric == "score" {
		q.Metric = "findings" // a rule has no score of its own
	}
	value, ok := trendValues[q.By+" "+q.Metric]
	if !ok {
		return assay.Trend{}, fmt.Errorf("trend: %s by %s: not known; metrics are %v by test, score by axis, findings by rule", q.Metric, q.By, TrendMetrics)
	}
	builder := trendBuilder{rows: map[assay.TrendColumn]map[string][]assay.TrendPoint{}, heads: map[string]assay.TrendRow{}}
	err := each(db.read, `
SELECT script, test, variant, subject, name, driver, arch, os, version, version_key, run, started, verdict,
       CASE WHEN name = '' THEN letter END, value
FROM (SELECT t.*, a.name, `+value+` AS value,
        row_number() OVER (PARTITION BY t.script, t.test, t.variant, t.subject, a.name, t.driver, t.arch, t.os, t.version_key, t.version
                           ORDER BY t.started DESC, t.cell_id DESC) AS age
      FROM trend t `+trendNames[q.By]+`
      WHERE (?1 = '' OR t.script GLOB ?1) AND (?2 = '' OR t.test GLOB ?2) AND (?3 = '' OR t.subject GLOB ?3)
        AND (?4 = '' OR t.os GLOB ?4 OR t.os || '-' || t.version GLOB ?4) AND (?5 = '' OR t.driver = ?5) AND t.started >= ?6)
WHERE age <= ?7 ORDER BY started, run`, builder.scan, q.Script, q.Test, q.Subject, q.OS, q.Driver, moment(q.Since), q.Last)
	if err != nil {
		return assay.Trend{}, explain(db.path, err)
	}
	trend := builder.trend()
	trend.Metric, trend.By = q.Metric, q.By
	return trend, nil
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
	err := r.Scan(&row.Script, &row.Test, &row.Variant, &row.Subject, &row.Name, &row.Driver, &row.Arch,
		&column.OS, &column.Version, &column.Key, &point.Run, scanTime{&point.Started}, &point.Verdict, &letter, &value)
	point.Letter, point.Value, point.Known = letter.String, value.Float64, value.Valid
	name := fmt.Sprintf("%q", []string{row.Script, row.Test, row.Variant, row.Subject, row.Name, row.Driver, row.Arch})
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
