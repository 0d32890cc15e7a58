package results

import "assay"

// One table binding for each kind of row, in the order of the schema. The keys
// that the caller gives are positions, or the ids of the rows above.

var runs = table[assay.Run]{"run", []string{"id"}, "t.id", func(r *assay.Run) []column {
	return []column{
		plain("name", &r.ID),
		stamp("started", &r.Started),
		plain("seconds", &r.Seconds),
		optional("verdict", &r.Verdict),
		object("command", &r.Command),
		plain("version", &r.Version),
		plain("host_name", &r.Host.Name),
		plain("host_os", &r.Host.OS),
		plain("host_arch", &r.Host.Arch),
		plain("host_cpus", &r.Host.CPUs),
		plain("host_memory", &r.Host.Memory),
	}
}}

var cells = table[assay.Cell]{"cell", []string{"id"}, "t.position, t.id", func(c *assay.Cell) []column {
	return []column{
		word("name", &c.ID),
		word("script", &c.Script),
		word("script_digest", &c.Digest),
		word("test", &c.Test),
		word("image", &c.Image),
		word("driver", &c.Driver),
		word("variant", &c.Variant),
		stored("subject", func(t *tx) any { return t.word(t.subject(c)) }),
		stored("target", func(t *tx) any { return t.target(t.os(c), c.Driver) }),
		object("params", &c.Params),
		stamp("started", &c.Started),
		plain("seconds", &c.Seconds),
		optional("verdict", &c.Verdict),
	}
}}

var failures = table[assay.Failure]{"failure", []string{"cell"}, "t.cell", func(f *assay.Failure) []column {
	return []column{
		plain("kind", &f.Kind),
		plain("message", &f.Message),
		optional("position", &f.Position),
		optional("backtrace", &f.Backtrace),
		optional("detail", &f.Detail),
	}
}}

var machines = table[assay.Machine]{"machine", []string{"cell", "seq"}, "t.cell, t.seq", func(m *assay.Machine) []column {
	return []column{
		word("name", &m.ID),
		stored("image", func(t *tx) any { return t.image(m.Image, m.Digest) }),
		looked("(SELECT name FROM image WHERE id = t.image)", &m.Image),
		looked("(SELECT digest FROM image WHERE id = t.image)", &m.Digest),
		stored("target", func(t *tx) any { return t.target(m.OS, m.Driver) }),
		looked("(SELECT os FROM target WHERE id = t.target)", &m.OS.ID),
		looked("(SELECT version FROM target WHERE id = t.target)", &m.OS.Version),
		looked("(SELECT version_key FROM target WHERE id = t.target)", &m.OS.Key),
		looked("(SELECT arch FROM target WHERE id = t.target)", &m.OS.Arch),
		looked("(SELECT driver FROM target WHERE id = t.target)", &m.Driver),
		word("os_name", &m.OS.Name),
		word("kernel", &m.OS.Kernel),
		optional("accel", &m.Accel),
		plain("cpus", &m.CPUs),
		plain("memory", &m.Memory),
		plain("disk", &m.Disk),
		word("network", &m.Network),
		plain("boot_seconds", &m.Boot),
		maybe("parent", &m.Parent),
		optional("console", &m.Console),
	}
}}

var steps = table[assay.Step]{"step", []string{"cell"}, "t.cell, t.seq", func(s *assay.Step) []column {
	return []column{
		plain("seq", &s.Seq),
		word("verb", &s.Verb),
		word("detail", &s.Detail),
		word("position", &s.Position),
		maybe("machine", &s.Machine),
		plain("start_seconds", &s.Start),
		plain("seconds", &s.Seconds),
		optional("error", &s.Error),
	}
}}

var execs = table[assay.Exec]{"exec", []string{"cell", "step"}, "t.cell, t.step", func(e *assay.Exec) []column {
	return []column{
		object("command", &e.Command),
		word("user", &e.User),
		maybe("dir", &e.Dir),
		plain("code", &e.Code),
		optional("signal", &e.Signal),
		plain("timed_out", &e.TimedOut),
		optional("stdout", &e.Stdout),
		optional("stderr", &e.Stderr),
		plain("stdout_bytes", &e.StdoutBytes),
		plain("stderr_bytes", &e.StderrBytes),
		plain("cpu_seconds", &e.CPU),
		plain("peak_memory", &e.PeakMemory),
	}
}}

var orphans = table[assay.Process]{"orphan", []string{"cell", "step", "seq"}, "t.cell, t.step, t.seq", func(p *assay.Process) []column {
	return []column{plain("pid", &p.PID), plain("ppid", &p.PPID), word("user", &p.User), word("command", &p.Command)}
}}

var metrics = table[assay.Metric]{"metric", []string{"cell", "seq"}, "t.cell, t.seq", func(m *assay.Metric) []column {
	return []column{word("name", &m.Name), plain("value", &m.Value), plain("unit", &m.Unit)}
}}

var artifacts = table[assay.Artifact]{"artifact", []string{"cell", "seq"}, "t.cell, t.seq", func(a *assay.Artifact) []column {
	return []column{word("name", &a.Name), plain("digest", &a.Digest), plain("size", &a.Size)}
}}

var checks = table[assay.Check]{"checked", []string{"cell", "seq"}, "t.cell, t.seq", func(c *assay.Check) []column {
	return []column{plain("step", &c.Step), plain("ok", &c.OK), word("message", &c.Message)}
}}

var captures = table[assay.Capture]{"capture", []string{"cell"}, "t.cell, t.id", func(c *assay.Capture) []column {
	return []column{
		plain("id", &c.ID),
		word("machine", &c.Machine),
		plain("step", &c.Step),
		plain("digest", &c.Digest),
		object("counts", &c.Counts),
		object("problems", &c.Problems),
		plain("seconds", &c.Seconds),
		optional("witness", &c.Witness),
	}
}}

var diffs = table[assay.Diff]{"diff", []string{"cell"}, "t.cell, t.id", func(d *assay.Diff) []column {
	return []column{
		plain("id", &d.ID),
		plain("step", &d.Step),
		plain("before", &d.Before),
		plain("after", &d.After),
		plain("ignored", &d.Ignored),
	}
}}

var changes = table[assay.Change]{"change", []string{"cell", "diff", "seq"}, "t.cell, t.diff, t.seq", func(c *assay.Change) []column {
	return []column{
		plain("kind", &c.Kind),
		word("key", &c.Key),
		plain("op", &c.Op),
		object("before", &c.Before),
		object("after", &c.After),
		object("fields", &c.Fields),
		maybe("text", &c.Text),
		maybe("fold", &c.Group),
	}
}}

var noises = table[assay.Noise]{"noise_change", []string{"cell", "diff", "seq"}, "t.cell, t.diff, t.seq", func(n *assay.Noise) []column {
	return append(changes.columns(&n.Change), plain("seen", &n.Seen), plain("placebos", &n.Of))
}}

var placebos = table[assay.Placebo]{"placebo", []string{"cell", "seq"}, "t.cell, t.seq", func(p *assay.Placebo) []column {
	return []column{word("image", &p.Image), maybe("scope", &p.Scope), plain("seconds", &p.Seconds)}
}}

var placeboChanges = table[assay.Change]{"placebo_change", []string{"cell", "placebo", "seq"}, "t.cell, t.placebo, t.seq", changes.columns}

var grades = table[assay.Grade]{"grade", []string{"cell"}, "t.cell, t.id", func(g *assay.Grade) []column {
	return []column{
		plain("id", &g.ID),
		plain("step", &g.Step),
		word("subject", &g.Subject),
		word("policy", &g.Policy),
		plain("letter", &g.Letter),
		plain("score", &g.Score),
		plain("verdict", &g.Verdict),
		object("caps", &g.Caps),
		plain("diff", &g.Diff),
	}
}}

var axes = table[assay.AxisScore]{"axis", []string{"cell", "grade", "seq"}, "t.cell, t.grade, t.seq", func(a *assay.AxisScore) []column {
	return []column{plain("name", &a.Name), plain("score", &a.Score), plain("weight", &a.Weight)}
}}

var findings = table[assay.Finding]{"finding", []string{"cell", "grade", "seq"}, "t.cell, t.grade, t.seq", func(f *assay.Finding) []column {
	return []column{
		word("rule", &f.Rule),
		plain("severity", &f.Severity),
		plain("axis", &f.Axis),
		plain("points", &f.Points),
		word("message", &f.Message),
		word("recommendation", &f.Recommendation),
		optional("attack", &f.Attack),
		object("waived", &f.Waived),
	}
}}

var evidences = table[assay.Evidence]{"evidence", []string{"cell", "grade", "finding", "seq"}, "t.cell, t.grade, t.finding, t.seq", func(e *assay.Evidence) []column {
	return []column{plain("kind", &e.Kind), word("key", &e.Key), maybe("detail", &e.Detail)}
}}

var clears = table[assay.Clear]{"clear", []string{"cell", "grade", "seq"}, "t.cell, t.grade, t.seq", func(c *assay.Clear) []column {
	return []column{word("rule", &c.Rule), plain("axis", &c.Axis), word("message", &c.Message)}
}}
