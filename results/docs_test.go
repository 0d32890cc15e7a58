package results

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every query of the documentation runs, and finds something where there is
// something to find; every view is in its table.
func TestDocumentedQueries(t *testing.T) {
	text, err := os.ReadFile("../docs/queries.md")
	must(t, err)
	db := history(t)
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
