package results

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"assay"
)

// StartRun records that a run began, with the cells that it plans, if it names
// any. Its verdict stays open until FinishRun.
func (db *DB) StartRun(run assay.Run) error {
	run.Verdict = ""
	return db.record(func(t *tx) {
		if _, ok := t.run(run.ID); ok {
			t.note(fmt.Errorf("start: run %q: already recorded, wanted a new id", run.ID))
			return
		}
		id := t.nextID("run")
		runs.insert(t, &run, id)
		for _, c := range run.Cells {
			t.cell(id, c)
		}
	})
}

// StartCell records that a cell began. Its verdict stays open until FinishCell.
func (db *DB) StartCell(runID string, c *assay.Cell) error {
	return db.record(func(t *tx) {
		open := *c
		open.Verdict = ""
		if id, finished := t.cell(t.mustRun(runID), &open); !finished {
			cells.update(t, &open, id)
		}
	})
}

// FinishCell records all of a cell in one transaction and moves its artifacts
// into the store, setting their Path. A cell that is already finished stays as
// it is: repeating is harmless, and the first result counts. An artifact that
// cannot be stored is left out and reported; the cell is recorded all the same.
func (db *DB) FinishCell(runID string, c *assay.Cell) error {
	kept, storing := db.store(c.Files)
	whole := *c
	whole.Files = kept
	return errors.Join(db.record(func(t *tx) { t.finish(t.mustRun(runID), &whole) }), storing)
}

// FinishRun records how a run ended: verdict, duration, the order of its cells,
// and the cells that were never recorded.
func (db *DB) FinishRun(run assay.Run) error {
	var finished map[string]bool
	if err := db.record(func(t *tx) { finished = t.open(run) }); err != nil {
		return err
	}
	var storing error
	for _, c := range run.Cells {
		if !finished[c.ID] {
			storing = errors.Join(storing, db.FinishCell(run.ID, c))
		}
	}
	return errors.Join(storing, db.record(func(t *tx) {
		id := t.mustRun(run.ID)
		runs.update(t, &run, id)
		for i, c := range run.Cells {
			t.exec("UPDATE cell SET position=? WHERE run=? AND name=?", i, id, t.word(c.ID))
		}
	}))
}

// open makes the row of a run that was never started, and returns the names of
// the cells that are finished.
func (t *tx) open(run assay.Run) map[string]bool {
	id, ok := t.run(run.ID)
	if !ok {
		run.Verdict = ""
		runs.insert(t, &run, t.nextID("run"))
	}
	finished := map[string]bool{}
	t.note(cells.read(t, "t.run = ? AND t.verdict IS NOT NULL", id, func(_ []int64, c *assay.Cell) error {
		finished[c.ID] = true
		return nil
	}))
	return finished
}

// Interrupted closes a run whose process died: what was not finished gets the
// verdict error and the failure kind interrupted, and what was finished is kept.
// A run that ended by itself stays as it is. Asking whether the run is still
// alive is the caller's business.
func (db *DB) Interrupted(runID string) error { return db.InterruptedAt(runID, time.Time{}, nil) }

// InterruptedAt is Interrupted with what the dead process left: until is the
// last moment at which it is known to have lived, zero if there is none, and
// machines are those that it had, by the ids of their cells.
func (db *DB) InterruptedAt(runID string, until time.Time, machines map[string][]assay.Machine) error {
	run, err := db.Run(runID)
	if err != nil || run.Verdict != "" {
		return err
	}
	run.Verdict = assay.Error
	run.Seconds = max(run.Seconds, until.Sub(run.Started).Seconds())
	for _, c := range run.Cells {
		if c.Verdict == "" {
			interrupt(c)
			c.Machines = machines[c.ID]
			if !c.Started.IsZero() {
				c.Seconds = max(c.Seconds, until.Sub(c.Started).Seconds())
			}
		}
		run.Seconds = max(run.Seconds, c.Started.Sub(run.Started).Seconds()+c.Seconds)
	}
	return db.FinishRun(run)
}

// interrupt closes a cell of a run that died.
func interrupt(c *assay.Cell) {
	c.Verdict = assay.Error
	c.Failure = &assay.Failure{Kind: assay.InterruptedFailure, Message: "assay ended before this cell did; run it again"}
	if c.Started.IsZero() {
		c.Failure.Message = "assay ended before this cell began; run it again"
	}
}

// nextID returns a free id of a table whose first key is named id.
func (t *tx) nextID(table string) (id int64) {
	t.find([]any{&id}, "SELECT coalesce(max(id), 0) + 1 FROM "+table)
	return id
}

// run returns the id of the run with a name.
func (t *tx) run(name string) (id int64, ok bool) {
	ok = t.find([]any{&id}, "SELECT id FROM run WHERE name=?", name)
	return id, ok
}

// mustRun is run for a name that must be there.
func (t *tx) mustRun(name string) int64 {
	id, ok := t.run(name)
	if !ok {
		t.note(fmt.Errorf("record: run %q: not recorded; start the run first", name))
	}
	return id
}

// cell returns the id of a cell's row, which it makes when it is missing, and
// whether the cell is finished.
func (t *tx) cell(run int64, c *assay.Cell) (id int64, finished bool) {
	if t.find([]any{&id, &finished}, "SELECT id, verdict IS NOT NULL FROM cell WHERE run=? AND name=?", run, t.word(c.ID)) {
		return id, finished
	}
	id = t.nextID("cell")
	placed := cells
	placed.columns = func(c *assay.Cell) []column {
		return append(cells.columns(c), stored("run", func(*tx) any { return run }),
			stored("position", func(t *tx) any { return t.count("SELECT count(*) FROM cell WHERE run=?", run) }))
	}
	open := *c
	open.Verdict = ""
	placed.insert(t, &open, id)
	return id, false
}

// count returns the number that a query selects.
func (t *tx) count(query string, args ...any) (n int64) {
	t.find([]any{&n}, query, args...)
	return n
}

// finish writes a cell and all that is in it, unless that was done before.
func (t *tx) finish(run int64, c *assay.Cell) {
	id, finished := t.cell(run, c)
	if finished || c.Verdict == "" {
		return
	}
	cells.update(t, c, id)
	if c.Failure != nil {
		failures.insert(t, c.Failure, id)
	}
	insertAll(t, machines, c.Machines, id)
	insertAll(t, metrics, c.Metrics, id)
	insertAll(t, artifacts, c.Files, id)
	insertAll(t, checks, c.Checks, id)
	t.steps(id, c.Steps)
	t.observations(id, c)
	t.grades(id, c.Grades)
}

// insertAll writes rows whose last key, if they have no id of their own, is
// their position.
func insertAll[T any](t *tx, tb table[T], rows []T, keys ...int64) {
	for i := range rows {
		tb.insert(t, &rows[i], append(keys[:len(keys):len(keys)], int64(i))[:len(tb.keys)]...)
	}
}

// steps writes the steps of a cell.
func (t *tx) steps(cell int64, list []assay.Step) {
	insertAll(t, steps, list, cell)
	for i := range list {
		if e := list[i].Exec; e != nil {
			seq := int64(list[i].Seq)
			execs.insert(t, e, cell, seq)
			insertAll(t, orphans, e.Orphans, cell, seq)
		}
	}
}

// observations writes the captures, diffs and placebos of a cell.
func (t *tx) observations(cell int64, c *assay.Cell) {
	insertAll(t, captures, c.Captures, cell)
	insertAll(t, diffs, c.Diffs, cell)
	for i := range c.Diffs {
		insertAll(t, changes, c.Diffs[i].Changes, cell, int64(c.Diffs[i].ID))
		insertAll(t, noises, c.Diffs[i].Noise, cell, int64(c.Diffs[i].ID))
	}
	insertAll(t, placebos, c.Placebos, cell)
	for i := range c.Placebos {
		insertAll(t, placeboChanges, c.Placebos[i].Changes, cell, int64(i))
	}
}

// grades writes the grades of a cell.
func (t *tx) grades(cell int64, list []assay.Grade) {
	insertAll(t, grades, list, cell)
	for i := range list {
		g, id := &list[i], int64(list[i].ID)
		insertAll(t, axes, g.Axes, cell, id)
		insertAll(t, findings, g.Findings, cell, id)
		insertAll(t, clears, g.Checks, cell, id)
		for j := range g.Findings {
			insertAll(t, evidences, g.Findings[j].Evidence, cell, id, int64(j))
		}
	}
}

// subject returns what a cell is about: the subject of its first grade or, when
// it came to none, that of the last time the same test ran with the same
// parameters. So a run that breaks stays in the row of the runs that do not.
func (t *tx) subject(c *assay.Cell) string {
	if len(c.Grades) > 0 {
		return c.Grades[0].Subject
	}
	var text string
	t.find([]any{&text}, `SELECT w.text FROM cell c JOIN word w ON w.id = c.subject
		WHERE c.script=? AND c.test=? AND c.variant=? AND c.params IS ? AND w.text <> ''
		ORDER BY c.started DESC LIMIT 1`,
		t.word(c.Script), t.word(c.Test), t.word(c.Variant), object("", &c.Params).in(t))
	return text
}

// os returns what a cell's first machine says it is. Before one has answered,
// that is what machines of the same image said last or, failing that, what the
// image's name says.
func (t *tx) os(c *assay.Cell) assay.OS {
	if len(c.Machines) > 0 && c.Machines[0].OS.ID != "" {
		return c.Machines[0].OS
	}
	var os assay.OS
	if t.find([]any{&os.ID, &os.Version, &os.Key, &os.Arch}, `SELECT g.os, g.version, g.version_key, g.arch
		FROM machine m JOIN image i ON i.id = m.image JOIN target g ON g.id = m.target
		WHERE i.name=? AND g.driver=? AND g.os <> '' ORDER BY m.cell DESC LIMIT 1`, c.Image, c.Driver) {
		return os
	}
	return nameOS(c.Image)
}

// nameOS reads an image's name, such as debian-12, as an OS and its version.
func nameOS(image string) assay.OS {
	os := assay.OS{ID: image}
	if i := strings.LastIndexByte(image, '-'); i > 0 && i+1 < len(image) && image[i+1] >= '0' && image[i+1] <= '9' {
		os.ID, os.Version = image[:i], image[i+1:]
	}
	return os
}
