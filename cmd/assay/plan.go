package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"assay"
	"assay/engine"
)

// planFlags choose what of a plan runs, and in which order.
type planFlags struct {
	filter  string
	shard   string
	lastBad bool
	badOnly bool
	exit    bool
	maxFail int
	show    bool
}

// planFlags adds the flags that choose.
func (f *planFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.filter, "filter", "k", "", "run only tests whose id contains `NAME`")
	fl.StringVar(&f.shard, "shard", "", "run only part `I/N` of the tests, such as 1/3; the parts have as many as each other")
	fl.BoolVar(&f.badOnly, "lf", false, "run only the tests that failed last time; all if none did")
	fl.BoolVar(&f.lastBad, "ff", false, "run the tests that failed last time first")
	fl.BoolVarP(&f.exit, "exitfirst", "x", false, "start no more tests after the first failure; those under way go on")
	fl.IntVar(&f.maxFail, "maxfail", 0, "start no more tests after `N` failures; 0 starts all")
	fl.BoolVar(&f.show, "plan", false, "only print which tests would run, and how long they took before")
	must(c.RegisterFlagCompletionFunc("shard", words("1/2", "2/2", "1/3", "2/3", "3/3")))
	must(c.RegisterFlagCompletionFunc("maxfail", words("1", "3", "10")))
}

// options puts the flags into the engine's options.
func (f planFlags) options(opt *engine.Options) error {
	opt.Filter, opt.MaxFail = f.filter, f.maxFail
	if f.maxFail < 0 {
		return usagef("", "run: for --maxfail: got %d, want nothing below 0", f.maxFail)
	}
	if f.exit {
		opt.MaxFail = 1
	}
	switch {
	case f.badOnly:
		opt.Last = engine.LastOnly
	case f.lastBad:
		opt.Last = engine.LastFirst
	}
	if f.shard == "" {
		return nil
	}
	shard, err := engine.ParseShard(f.shard)
	if err != nil {
		return usagef("", "run: for --shard: %w", err)
	}
	opt.Shard = shard
	return nil
}

// past asks the results what earlier runs showed of cells.
func (a *app) past(ctx context.Context, cells []assay.Cell) (map[string]assay.Past, error) {
	db, err := a.openDB()
	if nothing := (*nothingError)(nil); errors.As(err, &nothing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer db.Close()
	return db.Past(ctx, cells)
}

// tellPlan says what became of the plan.
func (a *app) tellPlan(w *engine.Work) {
	for _, n := range w.Notes {
		a.note("assay: %s", n)
	}
}

// A plannedCell is a line of "run --plan --json".
type plannedCell struct {
	assay.Cell
	Past assay.Past `json:"past"`
}

// printPlan lists the cells, and how long those take that ran before.
func (a *app) printPlan(w *engine.Work, asJSON bool) error {
	a.tellPlan(w)
	list := []plannedCell{}
	for _, c := range w.Cells() {
		list = append(list, plannedCell{c, w.Past(c.ID)})
	}
	if asJSON {
		return a.printJSON(list)
	}
	for _, c := range list {
		a.printf("%s\n", clean(c.ID)+c.told())
	}
	return nil
}

// told says what is known of a cell.
func (c plannedCell) told() string {
	text := ""
	if c.Past.Seconds > 0 {
		text = fmt.Sprintf("  %.3gs", c.Past.Seconds)
	}
	if c.Past.Failed {
		text += "  failed last time"
	}
	return text
}
