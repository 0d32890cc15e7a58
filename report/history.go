package report

import (
	"fmt"
	"io"
	"strings"

	"assay"
)

// History writes a table of runs, in the order in which they are given.
func History(w io.Writer, runs []assay.RunSummary, width int, colour bool) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, `no runs; "assay run SCRIPT" makes one`)
		return err
	}
	g := grid{head: []string{"RUN", "STARTED", "VERDICT", "CELLS", "GRADES", "FINDINGS", "SECONDS", "SCRIPTS", "IMAGES"}}
	g.right = []bool{false, false, false, true, false, true, true, false, false}
	for _, r := range runs {
		verdict := string(r.Verdict)
		if verdict == "" {
			verdict = "running"
		}
		row := []string{r.ID, r.Started.UTC().Format("2006-01-02 15:04"), verdict, fmt.Sprint(r.Cells), strings.Join(r.Letters, ""),
			fmt.Sprint(r.Findings), points(r.Seconds), strings.Join(r.Scripts, " "), strings.Join(r.Images, " ")}
		for i := range row {
			row[i] = clean(row[i], cellLimit)
		}
		g.rows = append(g.rows, row)
	}
	g.paint = func(row, column int, _ string) paint {
		if column == 2 {
			return verdictPaint[runs[row].Verdict]
		}
		return ""
	}
	return g.write(w, width, newPalette(colour))
}
