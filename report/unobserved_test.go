package report

import (
	"fmt"
	"strings"
	"testing"

	"assay"
)

func TestWhatWasNotObservedIsSaid(t *testing.T) {
	run := assay.Run{ID: "r", Cells: []*assay.Cell{{ID: "c", Verdict: assay.Pass, Captures: []assay.Capture{{ID: 1}, {ID: 2}},
		Diffs: []assay.Diff{{ID: 1, Before: 1, After: 2}}}}}
	var b strings.Builder
	if err := Markdown(&b, run); err != nil || strings.Contains(b.String(), "Not Observed") {
		t.Fatalf("nothing was left unseen: got %v and\n%s", err, b.String())
	}
	for i := range 25 {
		problem := fmt.Sprintf("files: /srv/big%d: \x1btoo large", i)
		for j := range run.Cells[0].Captures {
			run.Cells[0].Captures[j].Problems = append(run.Cells[0].Captures[j].Problems, problem)
		}
	}
	b.Reset()
	err := Markdown(&b, run)
	got := b.String()
	if err != nil || strings.Count(got, "/srv/big0:") != 1 || !strings.Contains(got, "and 5 more") || strings.Contains(got, "\x1b") {
		t.Errorf("got %v and\n%s\nwant each problem once, at most 20 of them, escaped", err, got)
	}
}
