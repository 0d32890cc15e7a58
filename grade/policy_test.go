package grade_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"assay"
	"assay/grade"
	"assay/stdlib"
)

// overlay is the standard library with one more module.
type overlay struct{ over fstest.MapFS }

// Open opens the module, else the standard library's.
func (o overlay) Open(name string) (fs.File, error) {
	if f, err := o.over.Open(name); err == nil {
		return f, nil
	}
	return stdlib.FS.Open(name)
}

// load runs a policy module as a script would write it.
func load(src string) (*grade.Policy, error) {
	const head = "load('@stdlib//policy/default.star', base = 'default')\n"
	modules := overlay{fstest.MapFS{"mine.star": {Data: []byte(head + src)}}}
	return grade.Load(context.Background(), modules, "mine.star")
}

func mustLoad(t *testing.T, src string) *grade.Policy {
	t.Helper()
	p, err := load(src)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hosts is a run that changed two system files.
func hosts() grade.Input {
	return changed(was(change("modified file /etc/hosts", "type", "file"), "sha256", "1"), change("added file /etc/motd", "type", "file"))
}

func TestExtendAdds(t *testing.T) {
	p := mustLoad(t, `
def no_motd(ctx):
    return [finding("Greets: {keys}", evidence = [c for c in ctx.added("file") if c.key == "/etc/motd"])]
default = base.extend(rules = [rule(no_motd, axis = "cleanliness", severity = "LOW", clear = "Greets nobody")])
`)
	g := judge(t, p, hosts())
	if i := slices.IndexFunc(g.Findings, func(f assay.Finding) bool { return f.Rule == "no-motd" }); i < 0 || g.Findings[i].Message != "Greets: /etc/motd" || g.Findings[i].Points != 5 {
		t.Errorf("got %+v, want the finding of no-motd with 5 points", g.Findings)
	}
}

func TestExtendReplaces(t *testing.T) {
	p := mustLoad(t, `
def quiet(ctx):
    return []
default = base.extend(replace = {"system-files-modified": quiet})
`)
	g := judge(t, p, hosts())
	if len(g.Findings) != 0 || !slices.ContainsFunc(g.Checks, func(c assay.Clear) bool { return c.Message == "No system files changed" }) {
		t.Errorf("got %v, want none, and the rule's tick", rules(g))
	}
}

// TestWaiverSplits proves that a waiver for one row leaves the others standing,
// with the points and the words for just them.
func TestWaiverSplits(t *testing.T) {
	p := mustLoad(t, `default = base.extend(waive = [waive("system-files-modified", reason = "agreed", expires = "2027-01-31", match = "/etc/ho*")])`)
	g := judge(t, p, hosts())
	var got []string
	for _, f := range g.Findings {
		got = append(got, fmt.Sprint(f.Message, " ", f.Points, " ", f.Waived != nil))
	}
	slices.Sort(got)
	want := []string{"1 system file changed: /etc/hosts 30 true", "1 system file changed: /etc/motd 30 false"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if g.Score != 79.9 && g.Score != 91 || g.Letter != "C" {
		t.Errorf("got %v %s, want the points of one file and the cap", g.Score, g.Letter)
	}
}

func TestWaiverExpires(t *testing.T) {
	p := mustLoad(t, `default = base.extend(waive = [waive("system-files-modified", reason = "agreed", expires = "2026-11-22")])`)
	g := judge(t, p, hosts())
	if got := rules(g); !slices.Equal(got, []string{"system-files-modified", "waiver-expired"}) || g.Findings[0].Waived != nil {
		t.Errorf("got %v, want the finding and that its waiver expired", got)
	}
	last := g.Findings[len(g.Findings)-1]
	if last.Severity != assay.Info || last.Points != 0 || last.Axis != "security" {
		t.Errorf("got %+v, want INFO, no points, on the axis of the rule", last)
	}
	if on, err := p.Grade(t.Context(), hosts(), "2026-11-22"); err != nil || on.Score != 100 {
		t.Errorf("on its last day: got %v %v, want 100", on.Score, err)
	}
}

func TestPolicyErrors(t *testing.T) {
	for src, want := range map[string]string{
		`default = base.extend(waive = [waive("leftover-tmp-files", reason = "x", expires = "2027-01-31")])`: "waive: leftover-tmp-files: the policy default@1 has no such rule; the nearest is leftover-temp-files",
		`default = base.extend(waive = [waive("hung", reason = "", expires = "2027-01-31")])`:                "got no reason",
		`default = base.extend(waive = [waive("hung", reason = "x", expires = "soon")])`:                     `got expires "soon", want a day`,
		`default = base.extend(waive = [waive("hung", reason = "x", expires = "2027-01-31", match = "[")])`:  "want a glob",
		`default = base.extend(replace = {"hangs": len})`:                                                    "the nearest is hung",
		`default = base.extend(replace = {"hung": 7})`:                                                       "got a int, want a function or a rule()",
		`default = base.extend(rules = [len])`:                                                               "got a list with a builtin_function_or_method, want Rule",
		`default = base.extend(rules = [rule(len, axis = "luck")])`:                                          `got axis "luck", want one of execution, cleanliness`,
		`default = base.extend(rules = [rule(len, axis = "security", name = "hung")])`:                       "has a rule of that name",
		`default = base.extend(rules = [rule(len, axis = "security", severity = "BAD")])`:                    "want CRITICAL, HIGH, MEDIUM, LOW or INFO",
		`default = base.extend(rules = [rule(len, axis = "security", points = 101)])`:                        "want a number from 0 to 100",
		`default = base.extend(rules = [rule(len, axis = "security", needs = ["luck"])])`:                    `got "luck", want "subject" or "run"`,
		`default = 1`:                        "got no policy named default",
		`load("@stdlib//mine.star", "x")`:    "loads itself",
		`load("/etc/passwd", "x")`:           "want a module such as",
		`load("@stdlib//nothing.star", "x")`: "nothing.star",
		`x = [0 for _ in range(1000000000)]`: "too many steps",
		`default = policy("x", "1", {}, {}, rules = [], caps = [cap("Z", severity = "HIGH")])`: `got letter "Z"`,
	} {
		if _, err := load(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot %v\nwant %q", src, err, want)
		}
	}
}

// TestRuleErrors proves that a wrong or endless rule is an error with the rule's
// name, and never a grade.
func TestRuleErrors(t *testing.T) {
	for body, want := range map[string]string{
		`return 7`:                                        "rule bad: got int, want a list of finding()",
		`return [7]`:                                      "got a list with a int",
		`return [finding("")]`:                            "want one line",
		`return [finding("x", evidence = [1])]`:           "want changes, matches, runs or evidence()",
		`return [finding("x") for _ in range(21)]`:        "more than 20 findings",
		`return ctx.luck`:                                 "luck",
		`return ctx.match("(", "x")`:                      "missing closing )",
		`return ctx.subject.grep("x", files = "[")`:       "want a glob",
		`return [0 for _ in range(1000000000)]`:           "too many steps",
		`return ctx.changes.append(1)`:                    "frozen",
		`return [c.match("[") for c in ctx.changes]`:      "want a glob",
		`return [c.under(["/etc"]) for c in ctx.changes]`: "got list, want strings",
	} {
		p := mustLoad(t, "def bad(ctx):\n    "+body+"\ndefault = base.extend(rules = [rule(bad, axis = 'security')])")
		in := and(subject(), change("added file /etc/x", "type", "file"))
		if _, err := p.Grade(t.Context(), in, today); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot %v\nwant %q", body, err, want)
		}
	}
}

func TestGradeEndsWithContext(t *testing.T) {
	p := mustLoad(t, "def slow(ctx):\n    for _ in range(1000000000):\n        pass\ndefault = base.extend(rules = [rule(slow, axis = 'security')])")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Grade(ctx, hosts(), today); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestBounds proves that a guest can't make a grade grow without end.
func TestBounds(t *testing.T) {
	var in grade.Input
	for i := range 5_000 {
		in.Changes = append(in.Changes, change(fmt.Sprintf("added file /tmp/%d-%s", i, strings.Repeat("x", 200)), "type", "file"))
	}
	in.Finished = true
	in.Runs = []assay.Exec{{User: "tester", Stdout: strings.Repeat("error \x1b[31m "+strings.Repeat("y", 5000)+"\n", 120)}}
	g := judge(t, defaultPolicy(t), in)
	for _, f := range g.Findings {
		if len(f.Evidence) > 100 || len(f.Message) > 500 || strings.ContainsRune(f.Message, '\x1b') {
			t.Errorf("%s: got %d rows and %d bytes, want at most 100 and 500", f.Rule, len(f.Evidence), len(f.Message))
		}
		for _, e := range f.Evidence {
			if len(e.Detail) > 200 || strings.ContainsRune(e.Detail, '\x1b') {
				t.Errorf("%s: got detail %q", f.Rule, e.Detail)
			}
		}
	}
	if len(g.Findings) < 2 || !strings.HasPrefix(g.Findings[0].Message, "5000 temporary files left") {
		t.Errorf("got %v, want all counted", rules(g))
	}
}

func TestNothingIsSkipped(t *testing.T) {
	g := judge(t, defaultPolicy(t), grade.Input{Finished: true})
	if g.Verdict != assay.Skip || g.Letter != grade.NoLetter || len(g.Checks) != 0 {
		t.Errorf("got %+v, want a skip without ticks", g)
	}
}

// TestTooManyChanges proves that a guest can't hide a change behind a flood.
func TestTooManyChanges(t *testing.T) {
	in := changed()
	for i := range 200_001 {
		in.Changes = append(in.Changes, assay.Change{Kind: "metric", Key: strconv.Itoa(i), Op: assay.Added})
	}
	p := mustLoad(t, "default = policy('few', '1', {'security': 100}, {'A': 90}, rules = [])")
	if g := judge(t, p, in); g.Verdict != assay.Fail || len(g.Findings) != 1 || !strings.Contains(g.Findings[0].Message, "1 things more than the 200000") {
		t.Errorf("got %+v, want one critical finding", g)
	}
	in.Changes[7].Group = "package x"
	if g := judge(t, p, in); len(g.Findings) != 0 {
		t.Errorf("got %+v, want what a package explains left out first", g.Findings)
	}
}
