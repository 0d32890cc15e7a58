package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"assay"
	"assay/capture"
)

// sections writes what changed and how it was judged. A grade without an id
// stands for a cell that graded nothing: all its changes are shown.
func (d *document) sections(c *assay.Cell, g assay.Grade) {
	changes := changesOf(c, g)
	d.below("Filesystem Changes", func() { d.files(changes) })
	d.below("Package Changes", func() { d.packages(changes) })
	d.below("System Modifications", func() { d.system(changes, g) })
	d.below("Process Analysis", func() { d.processes(c, changes, g) })
	d.noise(c, g)
	d.unobserved(c)
	if g.ID == 0 {
		return
	}
	d.below("Security Assessment", func() { d.ticks(g, securitySection) })
	d.below("Dependency Analysis", func() { d.dependencies(changes, g) })
	if len(clearsIn(g, otherSection))+len(findingsIn(g, otherSection)) > 0 {
		d.below("Other Rules", func() { d.ticks(g, otherSection) })
	}
}

// changesOf returns the changes that a grade judged, or all of the cell.
func changesOf(c *assay.Cell, g assay.Grade) (list []assay.Change) {
	for _, diff := range c.Diffs {
		if g.Diff == 0 || diff.ID == g.Diff {
			list = append(list, diff.Changes...)
		}
	}
	return list
}

// files writes which files changed, folded.
func (d *document) files(changes []assay.Change) {
	files := only(changes, func(c assay.Change) bool { return c.Kind == capture.File })
	for i, op := range []assay.Op{assay.Added, assay.Modified, assay.Removed} {
		if i > 0 {
			d.gap()
		}
		part := only(files, func(c assay.Change) bool { return c.Op == op })
		d.line("**%s**: %d", []string{"Files Added", "Files Modified", "Files Deleted"}[i], len(only(part, isFile)))
		d.list(foldedLines(part))
	}
	d.textDiffs(files)
}

// isFile reports whether a change is about a file or link, and not a folder.
func isFile(c assay.Change) bool { return c.After["type"] != "dir" && c.Before["type"] != "dir" }

// textDiffsShown bounds the text diffs of a report. All are in the JSON report.
const textDiffsShown = 5

// textDiffs writes what changed in small text files that were there before.
func (d *document) textDiffs(files []assay.Change) {
	changed := only(files, func(c assay.Change) bool { return c.Op == assay.Modified && c.Text != "" && c.Group == "" })
	for _, c := range changed[:min(len(changed), textDiffsShown)] {
		d.gap()
		d.line("What changed in %s:\n", code(c.Key))
		d.text.WriteString(block(c.Text))
	}
}

// only returns the changes for which keep holds.
func only(changes []assay.Change, keep func(assay.Change) bool) (list []assay.Change) {
	for _, c := range changes {
		if keep(c) {
			list = append(list, c)
		}
	}
	return list
}

// foldedLines returns one line of Markdown for each display line.
func foldedLines(changes []assay.Change) (lines []string) {
	for _, l := range capture.Fold(changes) {
		lines = append(lines, folded(l))
	}
	return lines
}

// folded is one display line: `/tmp/skill-temp-*.log` (3 files, 45KB total).
func folded(l capture.Line) string {
	name, note := splitNote(l.Text)
	if note == "" {
		return code(name)
	}
	return code(name) + " (" + prose(note) + ")"
}

// splitNote cuts the note in parentheses off a display line.
func splitNote(text string) (name, note string) {
	i := strings.LastIndex(text, " (")
	if i <= 0 || !strings.HasSuffix(text, ")") {
		return text, ""
	}
	return text[:i], text[i+2 : len(text)-1]
}

// packages writes which packages came, went and changed.
func (d *document) packages(changes []assay.Change) {
	all := only(changes, func(c assay.Change) bool { return c.Kind == capture.Package })
	for i, op := range []assay.Op{assay.Added, assay.Removed, assay.Modified} {
		part := only(all, func(c assay.Change) bool { return c.Op == op })
		if op == assay.Modified && len(part) == 0 {
			continue
		}
		if i > 0 {
			d.gap()
		}
		d.line("**%s**: %d", []string{"Installed Packages", "Removed Packages", "Changed Packages"}[i], len(part))
		var lines []string
		for _, c := range part {
			lines = append(lines, packageLine(c))
		}
		d.list(lines)
	}
}

// packageLine is `jq` (1.6-2.1).
func packageLine(c assay.Change) string {
	versions := []string{c.Before["version"], c.After["version"]}
	versions = slices.DeleteFunc(versions, func(v string) bool { return v == "" })
	for i := range versions {
		versions[i] = prose(versions[i])
	}
	line := code(packageName(c))
	if len(versions) > 0 {
		line += " (" + strings.Join(slices.Compact(versions), " → ") + ")"
	}
	return line
}

// packageName is what people call a package: jq of dpkg:jq, and pip:jq for one
// that is not the system's.
func packageName(c assay.Change) string {
	if name, ok := strings.CutPrefix(c.Key, manager(c)+":"); ok && slices.Contains(systemManagers, manager(c)) {
		return name
	}
	return c.Key
}

// systemManagers install packages of the system itself.
var systemManagers = []string{"dpkg", "rpm", "apk"}

// manager returns what installed a package.
func manager(c assay.Change) string {
	name, _, _ := strings.Cut(c.Key, ":")
	return name
}

// shownElsewhere are the kinds that have a section of their own.
var shownElsewhere = []string{capture.File, capture.Package, capture.Process, capture.Listener}

// system writes the ticks, and what else of the system changed.
func (d *document) system(changes []assay.Change, g assay.Grade) {
	d.ticks(g, systemSection)
	rest := only(changes, func(c assay.Change) bool { return !slices.Contains(shownElsewhere, c.Kind) })
	var lines []string
	for _, l := range capture.Fold(rest) {
		lines = append(lines, folded(l)+" – "+prose(l.Kind)+" "+prose(string(l.Op)))
	}
	d.gap()
	d.line("**Other Changes**: %d", len(rest))
	d.list(lines)
}

// processes writes what was left running.
func (d *document) processes(c *assay.Cell, changes []assay.Change, g assay.Grade) {
	var orphans []string
	for _, e := range execs(c) {
		for _, p := range e.Orphans {
			orphans = append(orphans, fmt.Sprintf("%s as %s (pid %d)", code(p.Command), prose(p.User), p.PID))
		}
	}
	d.counted("Orphaned Processes", orphans)
	for _, row := range [][2]string{{"Background Jobs", capture.Process}, {"Network Listeners", capture.Listener}} {
		part := only(changes, func(c assay.Change) bool { return c.Kind == row[1] && c.Op == assay.Added })
		var lines []string
		for _, c := range part {
			lines = append(lines, code(c.Key))
		}
		d.counted(row[0], lines)
	}
	d.ticks(g, processSection)
}

// counted writes a list under its name and length.
func (d *document) counted(name string, lines []string) {
	d.pair(name, "%d", len(lines))
	if d.list(lines); len(lines) > 0 {
		d.gap() // else the next line would go on with the last item
	}
}

// dependencies writes which packages the subject needs, and what of its files
// will not do elsewhere.
func (d *document) dependencies(changes []assay.Change, g assay.Grade) {
	added := only(changes, func(c assay.Change) bool { return c.Kind == capture.Package && c.Op == assay.Added })
	system := only(added, func(c assay.Change) bool { return slices.Contains(systemManagers, manager(c)) })
	others := only(added, func(c assay.Change) bool { return !slices.Contains(systemManagers, manager(c)) })
	d.required("System Packages Required", system, g)
	d.gap()
	d.required("Language Packages Required", others, g)
	d.ticks(g, dependencySection)
	d.paths(g)
}

// required lists packages with what the findings say about each.
func (d *document) required(name string, packages []assay.Change, g assay.Grade) {
	if len(packages) == 0 {
		d.pair(name, "None")
		return
	}
	d.line("**%s**:", name)
	var lines []string
	for _, c := range packages {
		line := code(packageName(c))
		for _, f := range g.Findings {
			if sectionOf(f.Rule, f.Axis) == dependencySection && proves(f, c) {
				line += " – " + prose(string(f.Severity)) + " (" + prose(f.Rule) + ")"
			}
		}
		lines = append(lines, line)
	}
	d.list(lines)
}

// proves reports whether a change is evidence for a finding.
func proves(f assay.Finding, c assay.Change) bool {
	return slices.ContainsFunc(f.Evidence, func(e assay.Evidence) bool { return e.Kind == c.Kind && e.Key == c.Key })
}

// paths writes the hard-coded paths with their lines and what to write instead.
func (d *document) paths(g assay.Grade) {
	found := findingsIn(g, pathSection)
	if len(found) == 0 {
		d.gap()
		d.pair("Hardcoded Paths Detected", "None")
		return
	}
	d.gap()
	d.line("**Hardcoded Paths Detected**:  ")
	for _, f := range found {
		d.line("%s %s: %s  ", mark(f), prose(f.Message), places(f))
		d.line("→ %s  ", prose(f.Recommendation))
	}
}

// places lists the evidence of a finding, such as `run.sh` line 67.
func places(f assay.Finding) string {
	var list []string
	for i, e := range f.Evidence {
		if i == 5 {
			list = append(list, fmt.Sprintf("and %d more", len(f.Evidence)-i))
			break
		}
		list = append(list, evidence(e))
	}
	return strings.Join(list, ", ")
}

// evidence names one piece of evidence.
func evidence(e assay.Evidence) string {
	if i := strings.LastIndexByte(e.Key, ':'); e.Kind == "source" && i > 0 {
		return code(e.Key[:i]) + " line " + prose(e.Key[i+1:])
	}
	if e.Kind == "exec" {
		return "step " + prose(e.Key)
	}
	return code(e.Key)
}

// verdict writes recommendations, the grade and what follows from it.
func (d *document) verdict(g assay.Grade) {
	d.below("Recommendations", func() { d.recommendations(g) })
	d.below(fmt.Sprintf("Overall Grade: %s (%s)", prose(g.Letter), letterWords(g.Letter)), func() { d.scores(g) })
}

// letterWords says what a letter means; a policy may have letters of its own.
func letterWords(letter string) string {
	if words, ok := letters[letter]; ok {
		return words
	}
	return "see the scores"
}

// recommendations writes what to do, the worst first, and what was waived.
func (d *document) recommendations(g assay.Grade) {
	list := slices.Clone(g.Findings)
	slices.SortStableFunc(list, func(a, b assay.Finding) int { return a.Severity.Rank() - b.Severity.Rank() })
	n := 0
	for _, f := range list {
		if f.Waived == nil {
			n++
			d.line("%d. **%s**: %s (%s; %s)", n, prose(string(f.Severity)), prose(f.Recommendation), prose(f.Rule), pointsLost(f))
		}
	}
	if n == 0 {
		d.line("None: no rule found anything.")
	}
	for _, f := range list {
		if f.Waived != nil {
			d.gap()
			d.line("**Waived**: %s: %s (until %s)  ", prose(f.Rule), prose(f.Waived.Reason), prose(f.Waived.Expires))
		}
	}
}

// pointsLost says what a finding cost.
func pointsLost(f assay.Finding) string {
	return fmt.Sprintf("%s points of %s", points(f.Points), prose(f.Axis))
}

// scores writes the axes, why the letter is what it is, and the final status.
func (d *document) scores(g assay.Grade) {
	d.gap()
	for _, a := range g.Axes {
		d.pair(prose(title1(a.Name)), "%s/100 (weight %s%%)", points(a.Score), points(a.Weight))
	}
	d.pair("Score", "%s/100 by policy %s", points(g.Score), code(g.Policy))
	for _, c := range g.Caps {
		d.pair("Cap", "%s", prose(c))
	}
	d.gap()
	d.line("**Final Status**: %s", finalStatus(g))
}

// title1 returns text with its first letter in upper case.
func title1(text string) string {
	if text == "" {
		return ""
	}
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// finalStatus says what follows from a grade.
func finalStatus(g assay.Grade) string {
	switch g.Verdict {
	case assay.Pass:
		return "✅ **APPROVED**" + conditions(g)
	case assay.Warn:
		return "⚠️ **NEEDS REVIEW**" + conditions(g)
	case assay.Fail:
		return "❌ **REJECTED**" + conditions(g)
	}
	return "⛔ **NOT JUDGED**: the run did not finish"
}

// conditions names what has to be done before the subject is published.
func conditions(g assay.Grade) string {
	var names []string
	for _, s := range []assay.Severity{assay.Critical, assay.High} {
		if slices.ContainsFunc(g.Findings, func(f assay.Finding) bool { return f.Severity == s && f.Waived == nil }) {
			names = append(names, string(s))
		}
	}
	switch {
	case len(names) > 0 && g.Verdict == assay.Fail:
		return " until the " + strings.Join(names, " and ") + " priority items are addressed"
	case len(names) > 0:
		return " for public release after addressing " + strings.Join(names, " and ") + " priority items"
	case g.Verdict == assay.Pass:
		return " for public release"
	}
	return ""
}
