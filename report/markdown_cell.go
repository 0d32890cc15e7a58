package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"assay"
)

// cellWithTitle writes a cell under a heading of its own.
func (d *document) cellWithTitle(c *assay.Cell) {
	name := test(c)
	if list := subjects(c); len(list) > 0 {
		name = strings.Join(list, ", ")
	}
	d.heading(icons[c.Verdict] + " " + prose(name) + " on " + prose(place(c)))
	d.cell(c)
}

// cell writes all sections of a cell, and those of each of its grades.
func (d *document) cell(c *assay.Cell) {
	d.below("Environment", func() { d.environment(c) })
	d.below("Execution Results", func() { d.execution(c) })
	switch len(c.Grades) {
	case 0:
		if len(c.Diffs) > 0 {
			d.sections(c, assay.Grade{})
		}
	case 1:
		d.sections(c, c.Grades[0])
		d.verdict(c.Grades[0])
	default:
		for i, g := range c.Grades {
			d.below(fmt.Sprintf("Grade %d: %s", i+1, prose(g.Subject)), func() {
				d.sections(c, g)
				d.verdict(g)
			})
		}
	}
}

// environment writes where a cell ran.
func (d *document) environment(c *assay.Cell) {
	d.pair("VM Platform", "%s%s", prose(c.Driver), accel(c))
	if len(c.Machines) == 0 {
		d.pair("Image", "%s", code(c.Image))
		d.line("%s  ", noMachine(c))
	}
	for _, m := range c.Machines {
		d.pair("OS", "%s (kernel %s, %s)", prose(m.OS.Name), prose(m.OS.Kernel), prose(m.OS.Arch))
		d.pair("VM Name", "%s", code(m.ID))
		d.pair("Image", "%s (sha256 %s)", code(m.Image), short(m.Digest))
		d.pair("Resources", "%d vCPU, %s RAM, %s disk, network %s", m.CPUs, size(m.Memory), size(m.Disk), prose(m.Network))
		d.pair("Boot", "%s", seconds(m.Boot))
	}
	d.pair("Script", "%s", code(test(c)))
	if c.Variant != "" {
		d.pair("Variant", "%s", code(c.Variant))
	}
	for _, name := range sortedKeys(c.Params) {
		d.pair("Parameter", "%s = %s", code(name), code(c.Params[name]))
	}
}

// noMachine says why a cell had none.
func noMachine(c *assay.Cell) string {
	switch {
	case c.Failure != nil && c.Failure.Kind == assay.StoppedFailure:
		return "It never started."
	case c.Failure != nil && c.Failure.Kind == assay.InterruptedFailure:
		return "It was interrupted before a machine came up."
	}
	return "No machine came up."
}

// accel names the accelerator of a cell's first machine.
func accel(c *assay.Cell) string {
	if len(c.Machines) == 0 || c.Machines[0].Accel == "" {
		return ""
	}
	return " (" + prose(c.Machines[0].Accel) + ")"
}

// sortedKeys returns the keys of m, sorted.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// execution writes what the cell did and whether it came to its end.
func (d *document) execution(c *assay.Cell) {
	d.pair("Status", "%s", status(c))
	d.pair("Duration", "%s", seconds(c.Seconds))
	runs := execs(c)
	if e := decisive(runs); e != nil {
		d.pair("Exit Code", "%s", exitCode(e))
	}
	if len(runs) > 0 {
		d.gap()
		d.line("**Commands**: %d", len(runs))
		d.list(commandLines(runs))
	}
	d.checks(c)
	for i := range runs {
		if e := runs[i]; e.Code != 0 && e.Stderr != "" {
			d.gap()
			d.line("What %s said on its standard error:\n", code(strings.Join(e.Command, " ")))
			d.text.WriteString(block(e.Stderr))
			break
		}
	}
	d.failure(c.Failure)
	for _, g := range c.Grades {
		d.ticks(g, executionSection)
	}
}

// status says in a line how a cell ended.
func status(c *assay.Cell) string {
	switch {
	case c.Failure != nil && c.Failure.Kind == assay.SubjectFailure:
		return "❌ " + kinds[assay.SubjectFailure] + ": " + prose(c.Failure.Message)
	case c.Failure != nil:
		return "⛔ " + prose(kindWords(c.Failure.Kind)) + ": " + prose(c.Failure.Message)
	case c.Verdict == "":
		return "⏳ Not finished"
	case c.Verdict == assay.Skip:
		return "⏭️ Skipped"
	case c.Verdict == assay.Error:
		return "⛔ Broke"
	}
	return "✅ Completed successfully"
}

// kindWords returns the words for a kind of failure.
func kindWords(k assay.FailureKind) string { return cmp.Or(kinds[k], string(k)) }

// execs returns the commands of a cell, in order.
func execs(c *assay.Cell) (list []*assay.Exec) {
	for i := range c.Steps {
		if e := c.Steps[i].Exec; e != nil {
			list = append(list, e)
		}
	}
	return list
}

// decisive returns the command that tells how the cell went: the first that
// failed, or else the last. nil for none.
func decisive(list []*assay.Exec) *assay.Exec {
	for _, e := range list {
		if e.Code != 0 || e.TimedOut {
			return e
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[len(list)-1]
}

// exitCode says how a command ended.
func exitCode(e *assay.Exec) string {
	if e.Code < 0 && e.Signal == "" && !e.TimedOut {
		return "none, it did not end"
	}
	text := fmt.Sprint(e.Code)
	if e.Signal != "" {
		text += " (" + prose(e.Signal) + ")"
	}
	if e.TimedOut {
		text += " (timed out)"
	}
	return text
}

// commandLines describes commands, a line each.
func commandLines(list []*assay.Exec) (lines []string) {
	for _, e := range list {
		line := fmt.Sprintf("%s as %s: exit code %s", code(strings.Join(e.Command, " ")), prose(e.User), exitCode(e))
		if e.PeakMemory > 0 {
			line += fmt.Sprintf(", %s CPU, %s memory at most", seconds(e.CPU), size(e.PeakMemory))
		}
		lines = append(lines, line)
	}
	return lines
}

// checks writes the script's own checks.
func (d *document) checks(c *assay.Cell) {
	if len(c.Checks) == 0 {
		return
	}
	var lines []string
	for _, k := range c.Checks {
		lines = append(lines, map[bool]string{true: "✅ ", false: "❌ "}[k.OK]+prose(k.Message))
	}
	d.gap()
	d.line("**Checks**: %d", len(c.Checks))
	d.list(lines)
}

// failure writes why a cell did not pass, and what to do.
func (d *document) failure(f *assay.Failure) {
	if f == nil {
		return
	}
	if f.Position != "" {
		d.gap()
		d.line("**Position**: %s  ", code(f.Position))
	}
	if a := adviceOn(f); a != "" {
		d.gap()
		d.line("**What to do**: %s", prose(a))
	}
	for _, part := range [][2]string{{"Backtrace", f.Backtrace}, {"Detail", f.Detail}} {
		if part[1] != "" {
			d.gap()
			d.line("**%s**:\n", part[0])
			d.text.WriteString(block(part[1]))
		}
	}
}

// ticks writes what the rules of a section found and what they cleared.
func (d *document) ticks(g assay.Grade, s section) {
	clear, found := clearsIn(g, s), findingsIn(g, s)
	if len(clear)+len(found) == 0 {
		return
	}
	d.gap()
	for _, c := range clear {
		d.line("✅ %s  ", prose(c.Message))
	}
	for _, f := range found {
		d.line("%s %s  ", mark(f), prose(f.Message))
	}
}

// mark is the sign before a finding.
func mark(f assay.Finding) string {
	switch {
	case f.Waived != nil:
		return "➖"
	case f.Severity == assay.Critical:
		return "❌"
	case f.Severity == assay.Info:
		return "ℹ️"
	}
	return "⚠️"
}
