package assay

// A Grade is a policy's judgement of one subject.
type Grade struct {
	ID       int         `json:"id"` // from 1 within the cell
	Step     int         `json:"step"`
	Subject  string      `json:"subject"` // name of what was judged
	Policy   string      `json:"policy"`  // name@version
	Letter   string      `json:"letter"`  // A to F; "-" when the run did not finish
	Score    float64     `json:"score"`   // 0 to 100, after caps
	Verdict  Verdict     `json:"verdict"`
	Axes     []AxisScore `json:"axes"`             // in the policy's order
	Caps     []string    `json:"caps,omitempty"`   // why the letter is lower than the score alone says
	Findings []Finding   `json:"findings"`         // worst first
	Checks   []Clear     `json:"checks,omitempty"` // rules that looked and found nothing
	Diff     int         `json:"diff,omitempty"`   // id of the diff that it judged
}

// An AxisScore is one scale of a grade.
type AxisScore struct {
	Name   string  `json:"name"` // execution, cleanliness, security, portability, documentation
	Score  float64 `json:"score"`
	Weight float64 `json:"weight"` // per cent of the whole
}

// A Clear is a rule that looked and found nothing: the ticks of a report.
type Clear struct {
	Rule    string `json:"rule"`
	Axis    string `json:"axis"`
	Message string `json:"message"` // "No cron jobs created"
}

// A Severity is how bad a finding is.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "CRITICAL"
	High     Severity = "HIGH"
	Medium   Severity = "MEDIUM"
	Low      Severity = "LOW"
	Info     Severity = "INFO"
)

// Severities lists the severities, worst first.
var Severities = []Severity{Critical, High, Medium, Low, Info}

// Rank returns 0 for Critical to 4 for Info, and 5 for an unknown word.
func (s Severity) Rank() int {
	for i, v := range Severities {
		if v == s {
			return i
		}
	}
	return len(Severities)
}

// A Finding is a judged fact. It names the rows that prove it.
type Finding struct {
	Rule           string     `json:"rule"` // leftover-temp-files
	Severity       Severity   `json:"severity"`
	Axis           string     `json:"axis"`
	Points         float64    `json:"points"`  // taken off the axis
	Message        string     `json:"message"` // one line
	Evidence       []Evidence `json:"evidence"`
	Recommendation string     `json:"recommendation"`
	Attack         string     `json:"attack,omitempty"` // ATT&CK technique id, T1543.002
	Waived         *Waiver    `json:"waived,omitempty"` // set: counts nothing, stays visible
}

// Evidence names one stored row, or one line of the subject, that proves a finding.
type Evidence struct {
	Kind   string `json:"kind"` // kind of the change ("file", "package"), "exec", or "source" for a line of the subject
	Key    string `json:"key"`  // the change's key, the step's seq, or path:line
	Detail string `json:"detail,omitempty"`
}

// A Waiver is a reasoned, dated exception to a rule.
type Waiver struct {
	Rule    string `json:"rule"`
	Reason  string `json:"reason"`
	Expires string `json:"expires"`         // 2027-01-31
	Match   string `json:"match,omitempty"` // glob on evidence keys; empty: all
}
