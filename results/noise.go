package results

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"assay"
)

// A PlaceboFilter chooses placebos.
type PlaceboFilter struct {
	Image string // digest
	Scope string // placebos of this scope too, beside those of none; "*": of any
	Limit int    // at most so many; 0: all
}

// placeboRows selects the placebos of a filter.
const placeboRows = `SELECT p.cell, p.seq FROM placebo p JOIN cell c ON c.id = p.cell
  WHERE p.image = (SELECT id FROM word WHERE text = ?1) AND (p.scope IS NULL OR ?2 = '*' OR p.scope = (SELECT id FROM word WHERE text = ?2))
  ORDER BY c.started DESC, c.id DESC, p.seq DESC LIMIT ?3`

func (f PlaceboFilter) args() []any {
	limit := f.Limit
	if limit <= 0 {
		limit = -1
	}
	return []any{f.Image, f.Scope, limit}
}

// Placebos returns what machines did that did nothing, newest first, and when the
// newest was made.
func (db *DB) Placebos(ctx context.Context, f PlaceboFilter) ([]assay.Placebo, time.Time, error) {
	all, newest, err := db.placebos(ctx, f)
	return all, newest, explain(db.path, err)
}

func (db *DB) placebos(ctx context.Context, f PlaceboFilter) (all []assay.Placebo, newest time.Time, err error) {
	tx, err := db.read.BeginTx(ctx, nil)
	if err != nil {
		return nil, newest, err
	}
	defer tx.Rollback()
	at := map[[2]int64]int{}
	rows, err := tx.Query(placeboRows, f.args()...)
	if err != nil {
		return nil, newest, err
	}
	defer rows.Close()
	for rows.Next() {
		var key [2]int64
		if err := rows.Scan(&key[0], &key[1]); err != nil {
			return nil, newest, err
		}
		at[key] = len(at)
	}
	if rows.Err() != nil || len(at) == 0 {
		return nil, newest, rows.Err()
	}
	all = make([]assay.Placebo, len(at))
	const chosen = "(t.cell, t.%s) IN (" + placeboRows + ")"
	err = errors.Join(
		placebos.read(tx, fmt.Sprintf(chosen, "seq"), f.args(), func(k []int64, p *assay.Placebo) error {
			all[at[[2]int64{k[0], k[1]}]] = *p
			return nil
		}),
		placeboChanges.read(tx, fmt.Sprintf(chosen, "placebo"), f.args(), func(k []int64, c *assay.Change) error {
			p := &all[at[[2]int64{k[0], k[1]}]]
			p.Changes = append(p.Changes, *c)
			return nil
		}),
		tx.QueryRow("SELECT c.started FROM cell c WHERE c.id IN (SELECT cell FROM ("+placeboRows+")) ORDER BY c.started DESC LIMIT 1", f.args()...).Scan(scanTime{&newest}))
	return all, newest, err
}

// A PlaceboImage is an image of which placebos are known.
type PlaceboImage struct {
	Name     string  `json:"image"`
	Digest   string  `json:"image_digest"`
	Placebos int     `json:"placebos"`
	Longest  float64 `json:"longest"` // seconds
	Newest   string  `json:"newest"`  // moment
}

// PlaceboImages lists the images of which placebos are known, the newest first.
func (db *DB) PlaceboImages(ctx context.Context) ([]PlaceboImage, error) {
	rows, err := db.read.QueryContext(ctx, `SELECT image, image_digest, count(*), max(seconds), max(started) FROM placebos
		GROUP BY image, image_digest ORDER BY max(started) DESC`)
	if err != nil {
		return nil, explain(db.path, err)
	}
	defer rows.Close()
	var all []PlaceboImage
	for rows.Next() {
		var i PlaceboImage
		if err := rows.Scan(&i.Name, &i.Digest, &i.Placebos, &i.Longest, &i.Newest); err != nil {
			return nil, explain(db.path, err)
		}
		all = append(all, i)
	}
	return all, explain(db.path, rows.Err())
}

// Forget removes what is known of idle machines of an image, by its digest, and
// returns how many placebos there were. What diffs left out on their account
// stays recorded.
func (db *DB) Forget(image string) (n int, err error) {
	err = db.record(func(t *tx) {
		n = int(t.count("SELECT count(*) FROM placebo WHERE image = (SELECT id FROM word WHERE text = ?)", image))
		t.exec("DELETE FROM placebo WHERE image = (SELECT id FROM word WHERE text = ?)", image)
	})
	return n, err
}

// ComparedSeconds returns how much time lay between the captures that a cell,
// given by its id, compared when it last did: the longest such time. 0 means that
// it never did.
func (db *DB) ComparedSeconds(ctx context.Context, cell string) (float64, error) {
	var seconds sql.NullFloat64
	err := db.read.QueryRowContext(ctx, `SELECT max(sa.start_seconds - sb.start_seconds - sb.seconds)
		FROM diff d
		JOIN capture a ON a.cell = d.cell AND a.id = d.after JOIN step sa ON sa.cell = d.cell AND sa.seq = a.step
		JOIN capture b ON b.cell = d.cell AND b.id = d.before JOIN step sb ON sb.cell = d.cell AND sb.seq = b.step
		WHERE d.cell = (SELECT c.id FROM cell c WHERE c.name = (SELECT id FROM word WHERE text = ?)
		  AND EXISTS (SELECT 1 FROM diff x WHERE x.cell = c.id) ORDER BY c.started DESC, c.id DESC LIMIT 1)`, cell).Scan(&seconds)
	return max(seconds.Float64, 0), explain(db.path, err)
}
