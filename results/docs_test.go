package results

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"assay"
)

// Every query of the documentation runs, and finds something where there is
// something to find; every view is in its table.
func TestDocumentedQueries(t *testing.T) {
	text, err := os.ReadFile("../docs/queries.md")
	must(t, err)
	db := history(t)
	restless := idle("12", day, placeboOf("img", "", 10, "/a"))
	restless.Captures = []assay.Capture{{ID: 1}, {ID: 2}}
	restless.Diffs = []assay.Diff{{ID: 1, Before: 1, After: 2, Noise: []assay.Noise{{Change: restless.Placebos[0].Changes[0], Seen: 1, Of: 1}}}}
	record(t, db, runOf("idle", day, restless))
	queries := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllSubmatch(text, -1)
	if len(queries) < 10 {
		t.Errorf("found %d queries", len(queries))
	}
	for _, q := range queries {
		got := query(t, db, string(q[1]))
		if empty := regexp.MustCompile(`max\(run\)|'modified'|FROM steps`).Match(q[1]); len(got) == 0 && !empty {
			t.Errorf("%s: nothing", q[1])
		}
	}
	for _, v := range views(t, db.read) {
		if !strings.Contains(string(text), "`"+v+"`") {
			t.Errorf("the view %s is not described", v)
		}
	}
}
