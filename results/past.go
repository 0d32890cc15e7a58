package results

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"assay"
)

// pastRuns is how many of a cell's last runs tell how long it takes.
const pastRuns = 5

// Past returns what earlier runs showed of cells, by their ids: how long the
// same test takes on the same image with the same driver and variant (the median
// of its last runs that came to an end by themselves, less the time in which they
// waited for room on the host), and whether it failed when
// it ran last with the same parameters. A cell that never ran is left out.
func (db *DB) Past(ctx context.Context, cells []assay.Cell) (map[string]assay.Past, error) {
	tx, err := db.read.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain(db.path, err)
	}
	defer tx.Rollback()
	all := map[string]assay.Past{}
	for i := range cells {
		past, err := pastOf(ctx, tx, &cells[i])
		if err != nil {
			return nil, explain(db.path, err)
		}
		if past != (assay.Past{}) {
			all[cells[i].ID] = past
		}
	}
	return all, nil
}

// sameCell selects the rows of one test in one place, newest first.
const sameCell = ` FROM cell c WHERE c.script = (SELECT id FROM word WHERE text = ?1) AND c.test = (SELECT id FROM word WHERE text = ?2)
  AND c.variant = (SELECT id FROM word WHERE text = ?3) AND c.image = (SELECT id FROM word WHERE text = ?4)
  AND c.driver = (SELECT id FROM word WHERE text = ?5) AND c.started IS NOT NULL `

const newestFirst = ` ORDER BY c.started DESC, c.id DESC LIMIT ?6`

func pastOf(ctx context.Context, tx *sql.Tx, c *assay.Cell) (assay.Past, error) {
	seconds, err := pastSeconds(ctx, tx, c)
	if err != nil {
		return assay.Past{}, err
	}
	verdict, err := lastVerdict(ctx, tx, c)
	return assay.Past{Seconds: median(seconds), Failed: verdict == assay.Fail || verdict == assay.Error}, err
}

// pastSeconds returns how long the cell took, newest first.
func pastSeconds(ctx context.Context, tx *sql.Tx, c *assay.Cell) ([]float64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.seconds - coalesce((SELECT sum(m.value) FROM metric m
		WHERE m.cell = c.id AND m.name = (SELECT id FROM word WHERE text = ?7)), 0)`+
		sameCell+"AND c.verdict IN ('pass', 'warn', 'fail')"+newestFirst,
		c.Script, c.Test, c.Variant, c.Image, c.Driver, pastRuns, assay.QueueSeconds)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []float64
	for rows.Next() {
		var s float64
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// lastVerdict returns how the cell ended when it was last started; "" if it
// never was.
func lastVerdict(ctx context.Context, tx *sql.Tx, c *assay.Cell) (verdict assay.Verdict, err error) {
	params, err := json.Marshal(c.Params)
	if err != nil {
		return "", err
	}
	if len(c.Params) == 0 {
		params = nil
	}
	err = tx.QueryRowContext(ctx, "SELECT c.verdict"+sameCell+`AND c.verdict <> 'skip'
		AND (?7 IS NULL AND c.params IS NULL OR c.params = (SELECT id FROM word WHERE text = ?7))`+newestFirst,
		c.Script, c.Test, c.Variant, c.Image, c.Driver, 1, sql.NullString{String: string(params), Valid: params != nil}).Scan(&verdict)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return verdict, err
}

// median returns the middle of seconds, the longer one of two, and never less
// than the millisecond that tells known from not known.
func median(seconds []float64) float64 {
	if len(seconds) == 0 {
		return 0
	}
	slices.Sort(seconds)
	return max(seconds[len(seconds)/2], 0.001)
}
