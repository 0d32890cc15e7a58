package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"assay"
)

// A Work is a plan that is ready to be run, once.
type Work struct {
	// Notes say, a line each, what became of the plan: which part of it is left,
	// and why.
	Notes []string

	env  Env
	opt  Options
	jobs []job // in the plan's order
	past map[string]assay.Past

	unread []string // parameters, after the run
}

// Prepare plans. No machine starts. A wrong script is a *ScriptError, an empty
// plan ErrNothing; an empty part of a plan is a Work without cells.
func Prepare(ctx context.Context, env Env, opt Options) (*Work, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Work{env: env, opt: opt}
	if w.jobs, err = plan(ctx, env, opt); err != nil {
		return nil, err
	}
	w.remember(ctx)
	anyFailed := len(failedJobs(w.jobs, w.past)) > 0
	w.keepShard() // first: what failed differs once another part has run
	w.keepFailed(anyFailed)
	for i := range w.jobs {
		w.jobs[i].Index = i + 1
	}
	return w, nil
}

// remember asks for the past. Without one the plan is as good, only slower.
func (w *Work) remember(ctx context.Context) {
	if w.env.History == nil {
		return
	}
	past, err := w.env.History(ctx, w.Cells())
	if err != nil {
		w.note("no history: %v", err)
	}
	w.past = past
}

func (w *Work) note(format string, args ...any) {
	w.Notes = append(w.Notes, fmt.Sprintf(format, args...))
}

// keepFailed keeps or favours the cells that failed last time. anyFailed is about
// the whole plan: a part of it without failures has nothing to run then.
func (w *Work) keepFailed(anyFailed bool) {
	if w.opt.Last == LastAny {
		return
	}
	failed := failedJobs(w.jobs, w.past)
	switch {
	case !anyFailed, len(failed) == 0 && w.opt.Last == LastFirst:
		w.note("last time none failed: running all %d", len(w.jobs))
	case w.opt.Last == LastOnly:
		w.note("running the %d of %d that failed last time", len(failed), len(w.jobs))
		w.jobs = failed
	default:
		w.note("running the %d of %d first that failed last time", len(failed), len(w.jobs))
	}
}

func (w *Work) keepShard() {
	if w.opt.Shard.Of == 0 {
		return
	}
	all, total := w.jobs, w.seconds()
	to := splitJobs(all, w.opt.Shard.Of)
	w.jobs = to.part(all, w.opt.Shard.Index)
	text := fmt.Sprintf("shard %s: %d of %d", w.opt.Shard, len(w.jobs), len(all))
	if total > 0 {
		text += fmt.Sprintf(", about %.0fs of %.0fs", w.seconds(), total)
	}
	w.note("%s; split %s", text, to.mark(all))
}

// seconds returns what the cells are known to take together.
func (w *Work) seconds() (sum float64) {
	for _, j := range w.jobs {
		sum += w.past[j.Cell.ID].Seconds
	}
	return sum
}

// Cells returns what will run, in the plan's order.
func (w *Work) Cells() []assay.Cell {
	cells := make([]assay.Cell, len(w.jobs))
	for i, j := range w.jobs {
		cells[i] = j.Cell
	}
	return cells
}

// Past returns what is known of a cell.
func (w *Work) Past(id string) assay.Past { return w.past[id] }

// Run runs the cells. See the function Run.
func (w *Work) Run(ctx context.Context, rec Recorder, emit func(Event)) (assay.Run, error) {
	dir, err := openRun(w.env.StateDir, w.opt.RunID)
	if err != nil {
		return assay.Run{}, err
	}
	defer dir.close()
	r := &run{env: w.env, opt: w.opt, rec: rec, emit: emit, jobs: w.jobs, pool: newPool(w.env.Host.measured()),
		order: startOrder(w.jobs, w.past, w.opt.Last), read: map[string]bool{}}
	run, err := r.run(ctx)
	w.unread = slices.DeleteFunc(slices.Sorted(maps.Keys(w.opt.Params)), func(p string) bool { return r.read[p] })
	return run, err
}

// Unread returns, after Run, the names of the user's parameters that no script
// asked for, sorted.
func (w *Work) Unread() []string { return w.unread }
