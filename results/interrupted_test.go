package results

import (
	"testing"
	"time"

	"assay"
)

// TestInterruptedAt proves that a dead run's record tells how long it is known
// to have lived, and which machines it had.
func TestInterruptedAt(t *testing.T) {
	db := openTemp(t)
	must(t, db.StartRun(assay.Run{ID: "r", Started: day}))
	must(t, db.StartCell("r", &assay.Cell{ID: "a", Started: day.Add(2 * time.Second)}))
	machine := assay.Machine{ID: "m", Image: "debian-12", Digest: "d", Driver: "fake", OS: assay.OS{ID: "debian", Version: "12", Key: "00012"}}
	must(t, db.InterruptedAt("r", day.Add(10*time.Second), map[string][]assay.Machine{"a": {machine}, "b": {machine}}))
	run, err := db.Run("r")
	must(t, err)
	c := run.Cells[0]
	if run.Seconds != 10 || c.Seconds != 8 || len(run.Cells) != 1 || len(c.Machines) != 1 || c.Machines[0] != machine {
		t.Errorf("got %v seconds, cell %+v", run.Seconds, c)
	}
	if run.Verdict != assay.Error || c.Verdict != assay.Error || c.Failure.Kind != assay.InterruptedFailure {
		t.Errorf("got %s, %s, %+v", run.Verdict, c.Verdict, c.Failure)
	}
}

// TestInterruptedLongAgo proves that traces older than the run's own record do
// not make it shorter.
func TestInterruptedLongAgo(t *testing.T) {
	db := openTemp(t)
	must(t, db.StartRun(assay.Run{ID: "r", Started: day}))
	must(t, db.StartCell("r", &assay.Cell{ID: "a", Started: day.Add(time.Second)}))
	must(t, db.InterruptedAt("r", day.Add(-time.Hour), nil))
	run, err := db.Run("r")
	must(t, err)
	if run.Seconds != 1 || run.Cells[0].Seconds != 0 {
		t.Errorf("got %v and %v seconds", run.Seconds, run.Cells[0].Seconds)
	}
}
