package results

import (
	"database/sql"
	"errors"
	"time"

	"assay"
)

// A RunFilter chooses runs. Empty fields choose all.
type RunFilter struct {
	Script  string        // glob on the script's name
	Since   time.Time     // started at or after
	Verdict assay.Verdict // of the run
}

// Runs returns the newest runs, newest first; limit 0 means all.
func (db *DB) Runs(limit int, f RunFilter) ([]assay.RunSummary, error) {
	list, err := db.summaries(limit, f)
	return list, explain(db.path, err)
}

// summaries is Runs with the errors of SQLite.
func (db *DB) summaries(limit int, f RunFilter) ([]assay.RunSummary, error) {
	if limit <= 0 {
		limit = -1
	}
	var list []assay.RunSummary
	var ids []int64
	err := each(db.read, `
SELECT r.id, r.name, r.started, r.seconds, coalesce(r.verdict, ''), (SELECT text FROM word WHERE id = r.command),
       (SELECT count(*) FROM finding f JOIN cell c ON c.id = f.cell WHERE c.run = r.id AND f.waived IS NULL)
FROM run r
WHERE r.started >= ?1 AND (?2 = '' OR r.verdict = ?2)
  AND (?3 = '' OR EXISTS (SELECT 1 FROM cell c JOIN word s ON s.id = c.script WHERE c.run = r.id AND s.text GLOB ?3))
ORDER BY r.started DESC, r.id DESC LIMIT ?4`, func(r *sql.Rows) error {
		s, id := assay.RunSummary{Verdicts: map[assay.Verdict]int{}}, int64(0)
		err := r.Scan(&id, &s.ID, scanTime{&s.Started}, &s.Seconds, &s.Verdict, scanJSON{&s.Command}, &s.Findings)
		list, ids = append(list, s), append(ids, id)
		return err
	}, moment(f.Since), string(f.Verdict), f.Script, limit)
	for i := range list {
		err = errors.Join(err, db.summarize(ids[i], &list[i]))
	}
	return list, err
}

// summarize adds what the run's cells say.
func (db *DB) summarize(run int64, s *assay.RunSummary) error {
	err := each(db.read, `SELECT coalesce(c.verdict, ''), count(*) FROM cell c WHERE c.run = ? GROUP BY c.verdict`, func(r *sql.Rows) error {
		var verdict assay.Verdict
		var n int
		err := r.Scan(&verdict, &n)
		s.Cells += n
		if verdict != "" {
			s.Verdicts[verdict] = n
		}
		return err
	}, run)
	if err != nil {
		return err
	}
	for query, to := range map[string]*[]string{
		"SELECT DISTINCT w.text FROM cell c JOIN word w ON w.id = c.script WHERE c.run = ? ORDER BY w.text":         &s.Scripts,
		"SELECT DISTINCT w.text FROM cell c JOIN word w ON w.id = c.image WHERE c.run = ? ORDER BY w.text":          &s.Images,
		"SELECT g.letter FROM cell c JOIN grade g ON g.cell = c.id WHERE c.run = ? ORDER BY c.position, c.id, g.id": &s.Letters,
	} {
		if err := each(db.read, query, func(r *sql.Rows) error {
			var text string
			err := r.Scan(&text)
			*to = append(*to, text)
			return err
		}, run); err != nil {
			return err
		}
	}
	return nil
}

// each calls scan for every row of a query.
func each(q querier, query string, scan func(*sql.Rows) error, args ...any) error {
	rows, err := q.Query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
