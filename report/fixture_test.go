package report

import (
	"fmt"
	"strings"
	"time"

	"assay"
)

// day is the first moment of the fixtures.
var day = time.Date(2026, 11, 23, 13, 0, 9, 0, time.UTC)

// runOf wraps cells in a run.
func runOf(id string, secs float64, cells ...*assay.Cell) assay.Run {
	run := assay.Run{
		ID: "20261123T130009-" + id, Started: day, Seconds: secs, Version: "0.1.0", Cells: cells,
		Command: []string{"assay", "run", "scripts/skill.star", "-p", "skill=samples/" + id},
		Host:    assay.Host{Name: "builder", OS: "Debian GNU/Linux 12 (bookworm)", Arch: "amd64", CPUs: 2, Memory: 24 << 30},
	}
	var verdicts []assay.Verdict
	for _, c := range cells {
		verdicts = append(verdicts, c.Verdict)
	}
	run.Verdict = assay.Worst(verdicts...)
	return run
}

// cellOn is a cell that has come up on a Debian version and run a skill.
func cellOn(version, codename, subject string) *assay.Cell {
	return &assay.Cell{
		ID: "scripts/skill.star:test_skill@debian-" + version + "/qemu", Script: "scripts/skill.star", Digest: strings.Repeat("5c", 32),
		Test: "test_skill", Image: "debian-" + version, Driver: "qemu", Params: map[string]string{"skill": "samples/" + subject},
		Started: day.Add(time.Second), Seconds: 44.6, Verdict: assay.Pass,
		Machines: []assay.Machine{{
			ID: "skill-1", Image: "debian-" + version, Digest: strings.Repeat("ab12", 16), Driver: "qemu", Accel: "tcg",
			CPUs: 2, Memory: 2 << 30, Disk: 10 << 30, Network: "none", Boot: 0.4,
			OS: assay.OS{ID: "debian", Version: version, Key: assay.VersionKey(version), Name: "Debian GNU/Linux " + version + " (" + codename + ")", Kernel: "6.1.0-28-cloud-amd64", Arch: "amd64"},
		}},
		Steps: []assay.Step{
			{Seq: 1, Verb: "launch", Detail: "debian-" + version, Position: "scripts/skill.star:9", Machine: "skill-1", Seconds: 0.4},
			{Seq: 2, Verb: "capture", Detail: "skill-1", Position: "scripts/skill.star:10", Machine: "skill-1", Start: 0.4, Seconds: 3.1},
			{Seq: 3, Verb: "exec", Detail: "bash run.sh", Position: "scripts/skill.star:12", Machine: "skill-1", Start: 3.6, Seconds: 30, Exec: &assay.Exec{
				Command: []string{"bash", "run.sh"}, User: "tester", Stdout: "done\n", StdoutBytes: 5, CPU: 4.2, PeakMemory: 34 << 20}},
		},
		Captures: []assay.Capture{
			{ID: 1, Machine: "skill-1", Step: 2, Digest: strings.Repeat("1a", 32), Counts: map[string]int{"file": 18211, "package": 310}, Seconds: 3.1},
			{ID: 2, Machine: "skill-1", Step: 4, Digest: strings.Repeat("2b", 32), Counts: map[string]int{"file": 18240, "package": 313}, Seconds: 3.3}},
		Metrics: []assay.Metric{{Name: "boot_seconds", Value: 0.4, Unit: "seconds"}},
	}
}

// added is a new file.
func added(path, bytes, group string) assay.Change {
	return assay.Change{Kind: "file", Key: path, Op: assay.Added, Group: group, After: map[string]string{"type": "file", "size": bytes, "mode": "0644", "owner": "tester"}}
}

// axes gives the five axes their scores.
func axes(scores ...float64) (list []assay.AxisScore) {
	weights := []float64{25, 25, 30, 10, 10}
	for i, name := range []string{"execution", "cleanliness", "security", "portability", "documentation"} {
		list = append(list, assay.AxisScore{Name: name, Score: scores[i], Weight: weights[i]})
	}
	return list
}

// clears are rules that found nothing.
func clears(rules ...string) (list []assay.Clear) {
	known := map[string][2]string{
		"failed-exit":          {"execution", "Completed with exit code 0"},
		"leftover-temp-files":  {"cleanliness", "No temporary files left"},
		"background-processes": {"cleanliness", "No processes left running"},
		"services-added":       {"security", "No systemd services added"},
		"scheduled-jobs-added": {"security", "No cron jobs created"},
		"environment-changed":  {"security", "No environment variables or shell start files modified"},
		"privilege-escalation": {"security", "No privilege escalation attempts"},
		"refused-access":       {"security", "No unauthorized file access attempts in the output"},
		"no-usage":             {"documentation", "The documentation says how to use it"},
		"missing-commands":     {"portability", "No commands were missing"},
		"house-style":          {"beauty", "Looks good"},
	}
	for _, r := range rules {
		list = append(list, assay.Clear{Rule: r, Axis: known[r][0], Message: known[r][1]})
	}
	return list
}

// flawed is the sample skill with five flaws.
func flawed() *assay.Cell {
	c := cellOn("12", "bookworm", "flawed-skill")
	c.Verdict = assay.Warn
	exec := c.Steps[2].Exec
	exec.Orphans = []assay.Process{{PID: 812, PPID: 1, User: "tester", Command: "tail -n 0 -F /tmp/skill-temp-read.log"}}
	jq := "package jq"
	changes := []assay.Change{
		added("/home/tester/.claude/cache/metrics-table.txt", "15360", ""),
		added("/tmp/skill-temp-read.log", "15360", ""), added("/tmp/skill-temp-sum.log", "15360", ""), added("/tmp/skill-temp-table.log", "15360", ""),
		{Kind: "file", Key: "/etc/hosts", Op: assay.Modified, Fields: []string{"sha256", "size"}, Before: map[string]string{"size": "180"}, After: map[string]string{"size": "230"},
			Text: "--- /etc/hosts\n+++ /etc/hosts\n@@ -3 +3,2 @@\n+127.0.0.1 metrics.internal # for the metrics skill\n"},
		{Kind: "package", Key: "dpkg:jq", Op: assay.Added, After: map[string]string{"version": "1.6-2.1", "manager": "dpkg"}, Group: jq},
		{Kind: "package", Key: "dpkg:libjq1", Op: assay.Added, After: map[string]string{"version": "1.6-2.1", "manager": "dpkg"}},
		{Kind: "package", Key: "pip:requests@tester", Op: assay.Modified, Before: map[string]string{"version": "2.28"}, After: map[string]string{"version": "2.32"}},
		{Kind: "process", Key: "tester: tail -n 0 -F /tmp/skill-temp-read.log", Op: assay.Added, After: map[string]string{"pid": "812"}},
		{Kind: "sysctl", Key: "kernel.domainname", Op: assay.Modified, Fields: []string{"value"}},
	}
	for i := range 12 {
		changes = append(changes, added(fmt.Sprintf("/usr/share/doc/jq/file-%02d", i), "1024", jq))
	}
	c.Diffs = []assay.Diff{{ID: 1, Step: 5, Before: 1, After: 2, Changes: changes, Ignored: 3,
		Noise: []assay.Noise{{Change: added("/tmp/systemd-private-1", "0", ""), Seen: 4, Of: 5}, {Change: assay.Change{Kind: "unit", Key: "apt-daily.service", Op: assay.Modified, Fields: []string{"active"}}, Seen: 1, Of: 40}}}}
	c.Placebos = []assay.Placebo{{Image: "sha256:img", Seconds: 9.5, Changes: []assay.Change{added("/tmp/systemd-private-2", "0", "")}}}
	c.Checks = []assay.Check{{Step: 6, OK: true, Message: "grade is B"}}
	c.Grades = []assay.Grade{{ID: 1, Step: 5, Subject: "flawed-skill", Policy: "default@1", Letter: "B", Score: 81.45, Verdict: assay.Warn, Diff: 1,
		Axes: axes(100, 75, 70, 85, 70), Caps: []string{"no better than B: a HIGH finding (undocumented-dependency)"}, Findings: flaws(),
		Checks: clears("failed-exit", "services-added", "scheduled-jobs-added", "environment-changed", "privilege-escalation", "refused-access", "no-usage", "house-style")}}
	return c
}

// flaws are the findings about the flawed skill.
func flaws() []assay.Finding {
	return []assay.Finding{
		{Rule: "undocumented-dependency", Severity: assay.Critical, Axis: "documentation", Points: 30, Message: "Undocumented dependency: installs dpkg:jq, which the documentation does not name",
			Recommendation: "Document jq in README.md", Evidence: []assay.Evidence{{Kind: "package", Key: "dpkg:jq"}}},
		{Rule: "system-files-modified", Severity: assay.High, Axis: "security", Points: 30, Message: "1 system file changed: /etc/hosts",
			Recommendation: "Do not change /etc/hosts; where it must be, ask the user first and put it back", Attack: "T1565.001", Evidence: []assay.Evidence{{Kind: "file", Key: "/etc/hosts"}}},
		{Rule: "hardcoded-home-paths", Severity: assay.High, Axis: "portability", Points: 15, Message: "Hard-coded home path /home/ubuntu/.claude/cache (run.sh:67)",
			Recommendation: "Should use $HOME/.claude/cache or ~/.claude/cache", Evidence: []assay.Evidence{{Kind: "source", Key: "run.sh:67", Detail: `folder="/home/ubuntu/.claude/cache"`}}},
		{Rule: "background-processes", Severity: assay.Medium, Axis: "cleanliness", Points: 20, Message: "1 process left running: tail -n 0 -F /tmp/skill-temp-read.log",
			Recommendation: "Stop what the subject starts before it exits, or document the service that it leaves", Evidence: []assay.Evidence{{Kind: "process", Key: "tester: tail -n 0 -F /tmp/skill-temp-read.log"}, {Kind: "exec", Key: "3"}}},
		{Rule: "leftover-temp-files", Severity: assay.Medium, Axis: "cleanliness", Points: 5, Message: "3 temporary files left",
			Recommendation: `Remove temporary files before the subject exits: trap 'rm -rf "$work"' EXIT`,
			Evidence:       []assay.Evidence{{Kind: "file", Key: "/tmp/skill-temp-read.log"}, {Kind: "file", Key: "/tmp/skill-temp-sum.log"}, {Kind: "file", Key: "/tmp/skill-temp-table.log"}}},
		{Rule: "stray-files", Severity: assay.Low, Axis: "cleanliness", Points: 0, Message: "1 file in the cache", Recommendation: "none",
			Waived: &assay.Waiver{Rule: "stray-files", Reason: "the cache is the purpose", Expires: "2027-01-31"}},
	}
}

// clean is the sample skill without flaws.
func cleanCell(version, codename string) *assay.Cell {
	c := cellOn(version, codename, "clean-skill")
	c.Diffs = []assay.Diff{{ID: 1, Step: 5, Before: 1, After: 2, Changes: []assay.Change{added("/home/tester/.cache/clean-skill/table.txt", "4096", "")}}}
	c.Grades = []assay.Grade{{ID: 1, Step: 5, Subject: "clean-skill", Policy: "default@1", Letter: "A", Score: 100, Verdict: assay.Pass, Diff: 1, Axes: axes(100, 100, 100, 100, 100),
		Checks: clears("failed-exit", "leftover-temp-files", "background-processes", "services-added", "privilege-escalation", "missing-commands", "no-usage")}}
	return c
}

// broken is a cell whose machine never answered.
func broken(version string) *assay.Cell {
	c := cellOn(version, "trixie", "flawed-skill")
	c.Verdict, c.Seconds = assay.Error, 121.4
	c.Machines, c.Captures, c.Metrics, c.Steps = nil, nil, nil, c.Steps[:1]
	c.Steps[0].Error = "boot: no answer from agent in 2m0s"
	c.Failure = &assay.Failure{Kind: assay.InfraFailure, Message: "launch: qemu: boot: no answer from agent in 2m0s (console: console.log)", Position: "scripts/skill.star:9:14",
		Backtrace: "Traceback (most recent call last):\n  scripts/skill.star:9:14: in test_skill\nError in launch: qemu: boot: no answer from agent in 2m0s",
		Detail:    "[    1.204512] Run /sbin/init as init process\r\n\x1b[31m[    1.300000] Kernel panic - not syncing: Attempted to kill init!\x1b[0m\r\n```\n# not a heading\n"}
	return c
}

// interrupted is a run that was killed while its second cell ran.
func interrupted() assay.Run {
	second := cellOn("12", "bookworm", "clean-skill")
	second.Verdict, second.Machines, second.Steps, second.Captures, second.Metrics, second.Seconds = assay.Error, nil, nil, nil, nil, 0
	second.Failure = &assay.Failure{Kind: assay.InterruptedFailure, Message: "assay ended before this cell did; run it again"}
	return runOf("killed", 52, cleanCell("11", "bullseye"), second)
}

// skilled is a run of the flawed skill on three versions: one breaks.
func matrixRun() assay.Run {
	eleven, twelve, thirteen := flawed(), flawed(), broken("13")
	eleven.Image, eleven.ID = "debian-11", strings.Replace(eleven.ID, "-12", "-11", 1)
	eleven.Machines[0].Image, eleven.Machines[0].OS = "debian-11", cellOn("11", "bullseye", "x").Machines[0].OS
	eleven.Grades[0].Letter, eleven.Grades[0].Score, eleven.Grades[0].Verdict, eleven.Verdict = "D", 63.2, assay.Fail, assay.Fail
	eleven.Failure = &assay.Failure{Kind: assay.SubjectFailure, Message: "check: grade is D, wanted B or better", Position: "scripts/skill.star:20:5"}
	eleven.Checks[0] = assay.Check{Step: 6, Message: "grade is D"}
	return runOf("matrix", 131, twelve, thirteen, eleven, cleanCell("9", "stretch"))
}

// fixtures are the runs of the goldens.
func fixtures() map[string]assay.Run {
	return map[string]assay.Run{
		"flawed":         runOf("flawed-skill", 45.2, flawed()),
		"clean":          runOf("clean-skill", 31, cleanCell("12", "bookworm")),
		"infrastructure": runOf("broken", 121.6, broken("13")),
		"interrupted":    interrupted(),
		"matrix":         matrixRun(),
		"empty":          {ID: "20261123T130009-none", Started: day, Version: "0.1.0"},
	}
}
