// Package grade judges: findings from what a run changed and did, scores from
// findings, a letter and a verdict from scores.
//
// It is pure. A policy is Starlark (package stdlib has the default one), loaded
// once; after that the same input gives the same bytes, with no clock, no
// randomness and no I/O, so that a stored run can be judged again. It knows no
// machine, no database and no report. Everything that it is given came from a
// hostile guest or an untrusted script: steps, counts and lengths are bounded.
package grade

import (
	"assay"
)

// An Input is everything that a policy may look at.
type Input struct {
	Subject  *Subject          // what was tested; nil: unknown, and rules about it are not asked
	Changes  []assay.Change    // what it did to the machine, in any order
	Runs     []assay.Exec      // the commands that were the subject's doing, in order
	Steps    []int             // seq of the step of each run, for evidence; may be shorter than Runs
	Machine  assay.Machine     // where it ran
	User     string            // who it ran as; empty: the user of the first run, else tester
	Home     string            // of that user; empty: /home/USER, or /root
	Finished bool              // false: our infrastructure broke off; the verdict is error and the letter "-"
	Error    string            // why it did not finish
	Params   map[string]string // of the cell
}
