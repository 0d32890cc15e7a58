package grade

import (
	"fmt"
	"strconv"
	"strings"

	"assay"

	"go.starlark.net/starlark"
)

// A draft is what a rule's finding() returns: a finding that does not know its
// rule yet. What it leaves empty is the rule's.
type draft struct {
	opaque
	message        string // may hold {n}, {s} and {keys}: see render
	evidence       []assay.Evidence
	severity       assay.Severity
	points         *float64 // of the whole finding; nil: the rule's, for each row
	recommendation string
	attack         string
}

// String returns finding("MESSAGE").
func (d *draft) String() string { return fmt.Sprintf("finding(%q)", d.message) }

// Type returns "Finding".
func (d *draft) Type() string { return "Finding" }

// A drafted is a draft with its rule, the points that it takes and its waiver.
type drafted struct {
	rule   *Rule
	draft  draft
	points float64
	waiver *assay.Waiver
}

// toDrafts returns what a rule returned: None, a finding, or a list of them.
func toDrafts(v starlark.Value) ([]draft, error) {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case *draft:
		return []draft{*v}, nil
	case starlark.Iterable:
		return draftList(v)
	}
	return nil, fmt.Errorf("got %s, want a list of finding()", v.Type())
}

func draftList(list starlark.Iterable) ([]draft, error) {
	var out []draft
	for v := range starlark.Elements(list) {
		d, ok := v.(*draft)
		if !ok {
			return nil, fmt.Errorf("got a list with a %s, want a list of finding()", v.Type())
		}
		if len(out) == maxFindings {
			return nil, fmt.Errorf("got more than %d findings, want one finding with many rows of evidence", maxFindings)
		}
		out = append(out, *d)
	}
	return out, nil
}

// finding renders d: at most maxEvidence rows, bounded strings.
func (d drafted) finding() assay.Finding {
	f := assay.Finding{
		Rule: d.rule.name, Axis: d.rule.axis, Severity: d.rule.severity, Points: tenth(d.points),
		Message:        render(d.draft.message, d.draft.evidence),
		Recommendation: render(or(d.draft.recommendation, d.rule.recommendation), d.draft.evidence),
		Attack:         or(d.draft.attack, d.rule.attack),
		Evidence:       append([]assay.Evidence{}, d.draft.evidence[:min(len(d.draft.evidence), maxEvidence)]...),
		Waived:         d.waiver,
	}
	if d.draft.severity != "" {
		f.Severity = d.draft.severity
	}
	return f
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// render fills in {n}, the number of rows; {s} and {es}, its plural; and {keys},
// the first keys. A waiver may take rows away, so rules cannot say these themselves.
func render(message string, rows []assay.Evidence) string {
	s, es := "s", "es"
	if len(rows) == 1 {
		s, es = "", ""
	}
	words := strings.NewReplacer("{n}", strconv.Itoa(len(rows)), "{s}", s, "{es}", es, "{keys}", keys(rows))
	return oneLine(words.Replace(message), maxMessage)
}

// keys lists the first three different names of the rows.
func keys(rows []assay.Evidence) string {
	var names []string
	seen := map[string]bool{}
	for _, e := range rows {
		if name := displayKey(e); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	if len(names) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// displayKey is how a person names a row: a package without its manager.
func displayKey(e assay.Evidence) string {
	key := e.Key
	if e.Kind == "package" {
		key = key[strings.IndexByte(key, ':')+1:]
	}
	return cut(key, 100)
}

// take returns the points that each draft of the rule takes: for each row of
// evidence, up to what the rule may take in all.
func (r *Rule) take(drafts []draft, room float64) []float64 {
	out := make([]float64, len(drafts))
	for i, d := range drafts {
		p := r.points * float64(max(1, len(d.evidence)))
		if d.points != nil {
			p = *d.points
		} else if d.severity != "" && d.severity != r.severity {
			p = defaultPoints[d.severity]
		}
		out[i] = min(p, room)
		room -= out[i]
	}
	return out
}

// defaultPoints is what a finding takes off its axis when the rule does not say.
var defaultPoints = map[assay.Severity]float64{
	assay.Critical: 60, assay.High: 40, assay.Medium: 15, assay.Low: 5, assay.Info: 0,
}
