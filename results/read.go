package results

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"assay"
)

// Run returns a run, complete, as it was recorded: moments in UTC, empty lists
// and maps as nil, and the artifacts' paths in the store. id is a run's id, a
// prefix that only one run has, or "last" for the newest. A run that goes on has
// no verdict.
func (db *DB) Run(id string) (assay.Run, error) {
	row, err := db.resolve(id)
	if err != nil {
		return assay.Run{}, explain(db.path, err)
	}
	run, err := db.load(row)
	return run, explain(db.path, err)
}

// resolve returns the row of the run that id names.
func (db *DB) resolve(id string) (row int64, err error) {
	if id == "last" {
		err = db.read.QueryRow("SELECT id FROM run ORDER BY started DESC, id DESC LIMIT 1").Scan(&row)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, &Error{Reason: "holds no run", Remedy: `"assay run SCRIPT" makes one`, missing: true}
		}
		return row, err
	}
	err = db.read.QueryRow("SELECT id FROM run WHERE name = ?", id).Scan(&row)
	if errors.Is(err, sql.ErrNoRows) {
		return db.resolvePrefix(id)
	}
	return row, err
}

// resolvePrefix returns the row of the one run whose name begins with prefix.
func (db *DB) resolvePrefix(prefix string) (row int64, err error) {
	rows, err := db.read.Query("SELECT id, name FROM run WHERE substr(name, 1, length(?1)) = ?1 AND ?1 <> '' ORDER BY name LIMIT 4", prefix)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&row, &name); err != nil {
			return 0, err
		}
		names = append(names, name)
	}
	if len(names) == 1 || rows.Err() != nil {
		return row, rows.Err()
	}
	if len(names) == 0 {
		return 0, &Error{Reason: fmt.Sprintf("run %q: no such run", prefix), Remedy: `"assay history" lists them`, missing: true}
	}
	return 0, &Error{Reason: fmt.Sprintf("run %q: several runs begin so: %s", prefix, strings.Join(names, ", ")), Remedy: "give more of the id"}
}

// load reads the run in a row. All of it comes from one moment of the database,
// also while the run goes on.
func (db *DB) load(row int64) (run assay.Run, err error) {
	tx, err := db.read.Begin()
	if err != nil {
		return run, err
	}
	defer tx.Rollback()
	err = runs.read(tx, "t.id = ?", row, func(_ []int64, r *assay.Run) error {
		run = *r
		return nil
	})
	if err != nil {
		return run, err
	}
	l := loader{q: tx, run: row, cells: map[int64]*assay.Cell{}}
	err = cells.read(tx, "t.run = ?", row, func(keys []int64, c *assay.Cell) error {
		l.cells[keys[0]] = c
		run.Cells = append(run.Cells, c)
		return nil
	})
	return run, errors.Join(err, l.loadCells(db))
}

// A loader reads the rows of a run's cells and hangs each where it belongs.
type loader struct {
	q     querier
	run   int64
	cells map[int64]*assay.Cell
}

// loadCells reads all that is in the cells, what holds before what is held.
func (l *loader) loadCells(db *DB) error {
	return errors.Join(
		load(l, failures, func(c *assay.Cell, _ []int64, f *assay.Failure) { c.Failure = f }),
		load(l, machines, func(c *assay.Cell, _ []int64, m *assay.Machine) { c.Machines = append(c.Machines, *m) }),
		load(l, metrics, func(c *assay.Cell, _ []int64, m *assay.Metric) { c.Metrics = append(c.Metrics, *m) }),
		load(l, checks, func(c *assay.Cell, _ []int64, k *assay.Check) { c.Checks = append(c.Checks, *k) }),
		load(l, artifacts, func(c *assay.Cell, _ []int64, a *assay.Artifact) {
			a.Path, _ = db.place(a.Digest) // a digest that is none has no place
			c.Files = append(c.Files, *a)
		}),
		l.loadSteps(), l.loadObservations(), l.loadGrades())
}

func (l *loader) loadSteps() error {
	return errors.Join(
		load(l, steps, func(c *assay.Cell, _ []int64, s *assay.Step) { c.Steps = append(c.Steps, *s) }),
		load(l, execs, func(c *assay.Cell, k []int64, e *assay.Exec) { step(c, k[1]).Exec = e }),
		load(l, orphans, func(c *assay.Cell, k []int64, p *assay.Process) {
			e := step(c, k[1]).Exec
			e.Orphans = append(e.Orphans, *p)
		}))
}

func (l *loader) loadObservations() error {
	return errors.Join(
		load(l, captures, func(c *assay.Cell, _ []int64, v *assay.Capture) { c.Captures = append(c.Captures, *v) }),
		load(l, diffs, func(c *assay.Cell, _ []int64, d *assay.Diff) { c.Diffs = append(c.Diffs, *d) }),
		load(l, changes, func(c *assay.Cell, k []int64, h *assay.Change) {
			d := diff(c, k[1])
			d.Changes = append(d.Changes, *h)
		}),
		load(l, noises, func(c *assay.Cell, k []int64, n *assay.Noise) {
			d := diff(c, k[1])
			d.Noise = append(d.Noise, *n)
		}),
		load(l, placebos, func(c *assay.Cell, _ []int64, p *assay.Placebo) { c.Placebos = append(c.Placebos, *p) }),
		load(l, placeboChanges, func(c *assay.Cell, k []int64, h *assay.Change) {
			p := &c.Placebos[k[1]]
			p.Changes = append(p.Changes, *h)
		}))
}

func (l *loader) loadGrades() error {
	return errors.Join(
		load(l, grades, func(c *assay.Cell, _ []int64, g *assay.Grade) { c.Grades = append(c.Grades, *g) }),
		load(l, axes, func(c *assay.Cell, k []int64, a *assay.AxisScore) {
			g := grade(c, k[1])
			g.Axes = append(g.Axes, *a)
		}),
		load(l, findings, func(c *assay.Cell, k []int64, f *assay.Finding) {
			g := grade(c, k[1])
			g.Findings = append(g.Findings, *f)
		}),
		load(l, evidences, func(c *assay.Cell, k []int64, e *assay.Evidence) {
			f := &grade(c, k[1]).Findings[k[2]]
			f.Evidence = append(f.Evidence, *e)
		}),
		load(l, clears, func(c *assay.Cell, k []int64, r *assay.Clear) {
			g := grade(c, k[1])
			g.Checks = append(g.Checks, *r)
		}))
}

// load reads the rows of one table for the loader's run.
func load[T any](l *loader, tb table[T], add func(c *assay.Cell, keys []int64, v *T)) error {
	return tb.read(l.q, "t.cell IN (SELECT id FROM cell WHERE run = ?)", l.run, func(keys []int64, v *T) error {
		add(l.cells[keys[0]], keys, v)
		return nil
	})
}

// step, diff and grade return the part of a cell that a row belongs to. The
// foreign keys promise that there is one; the list is short.

func step(c *assay.Cell, seq int64) *assay.Step {
	for i := range c.Steps {
		if c.Steps[i].Seq == int(seq) {
			return &c.Steps[i]
		}
	}
	return new(assay.Step)
}

func diff(c *assay.Cell, id int64) *assay.Diff {
	for i := range c.Diffs {
		if c.Diffs[i].ID == int(id) {
			return &c.Diffs[i]
		}
	}
	return new(assay.Diff)
}

func grade(c *assay.Cell, id int64) *assay.Grade {
	for i := range c.Grades {
		if c.Grades[i].ID == int(id) {
			return &c.Grades[i]
		}
	}
	return new(assay.Grade)
}
