package capture

import (
	"context"
	"path"
	"slices"
	"strings"
)

// cron observes what is scheduled: cron's tables and scripts, anacron's, at's queue.
type cron struct{}

func (cron) Name() string    { return "cron" }
func (cron) Kinds() []string { return []string{Cron, At} }

func (cron) Collect(ctx context.Context, src Source, out *Sink) error {
	systemTable(src, out, "/etc/crontab")
	systemTable(src, out, "/etc/anacrontab")
	for _, name := range entriesOf(src, out, "cron", "/etc/cron.d") {
		if name != ".placeholder" {
			systemTable(src, out, path.Join("/etc/cron.d", name))
		}
	}
	for _, period := range []string{"hourly", "daily", "weekly", "monthly"} {
		scripts(src, out, period, "/etc/cron."+period)
		scripts(src, out, period, "/etc/periodic/"+period)
	}
	for _, dir := range []string{"/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs"} {
		for _, user := range entriesOf(src, out, "cron", dir) {
			userTable(src, out, path.Join(dir, user), user)
		}
	}
	for _, dir := range []string{"/var/spool/cron/atjobs", "/var/spool/at", "/var/spool/atd"} {
		atJobs(src, out, dir)
	}
	return nil
}

// systemTable emits the lines of a table whose commands name their user.
func systemTable(src Source, out *Sink, file string) {
	anacron := path.Base(file) == "anacrontab"
	for _, l := range lines(regularText(src, out, file)) {
		schedule, rest, ok := splitSchedule(l, anacron)
		if !ok {
			continue
		}
		user, command := "root", rest
		if !anacron {
			user, command, _ = strings.Cut(rest, " ")
		}
		emitJob(out, file, l, schedule, user, command)
	}
}

func userTable(src Source, out *Sink, file, user string) {
	for _, l := range lines(regularText(src, out, file)) {
		if schedule, command, ok := splitSchedule(l, false); ok {
			emitJob(out, file, l, schedule, user, command)
		}
	}
}

// regularText is text of what is a file, or leads to one; a folder, such as the one of
// at's jobs below /var/spool/cron, has none.
func regularText(src Source, out *Sink, file string) string {
	if st, err := src.Lstat(file); err != nil || st.Mode&typeMask == typeDir {
		return ""
	}
	return text(src, out, "cron", file)
}

func emitJob(out *Sink, file, l, schedule, user, command string) {
	l = line(strings.Join(strings.Fields(l), " "))
	out.Add(Record{Cron, cut(Escape(file)+": "+l, maxWord), attrs("file", Escape(file), "schedule", line(schedule),
		"user", line(user), "command", line(command))})
}

// splitSchedule parts "17 * * * * rest" and "@daily rest"; anacron has a period, a
// delay and a name. A line that sets a variable is no job.
func splitSchedule(l string, anacron bool) (schedule, rest string, ok bool) {
	n := 5
	switch {
	case strings.HasPrefix(l, "@") && !anacron:
		n = 1
	case anacron:
		n = 3
	}
	f := strings.Fields(l)
	if len(f) <= n || strings.Contains(f[0], "=") || len(f) > 1 && f[1] == "=" {
		return "", "", false
	}
	return strings.Join(f[:n], " "), strings.Join(f[n:], " "), true
}

// scripts emits the programs of cron.daily and its like. cron runs none whose name
// holds a dot, but what is there may be renamed.
func scripts(src Source, out *Sink, period, dir string) {
	for _, name := range entriesOf(src, out, "cron", dir) {
		if p := path.Join(dir, name); name != ".placeholder" {
			out.Add(Record{Cron, Escape(p), attrs("file", Escape(p), "schedule", period, "user", "root", "sha256", digestOf(src, out, "cron", p))})
		}
	}
}

// atJobs emits at's queue. A job is a shell script; its last lines are the command.
func atJobs(src Source, out *Sink, dir string) {
	for _, name := range entriesOf(src, out, "cron", dir) {
		p := path.Join(dir, name)
		st, err := src.Lstat(p)
		if err != nil || st.Mode&typeMask != typeFile || strings.HasPrefix(name, ".") {
			continue
		}
		job := text(src, out, "cron", p)
		all := lines(job)
		user := userName(readOwners(src).users, atUser(job))
		out.Add(Record{At, Escape(p), attrs("user", user, "command", line(strings.Join(tail(all, 3), "; ")), "sha256", digestOf(src, out, "cron", p))})
	}
}

// atUser returns the number in "# atrun uid=1000 gid=1000".
func atUser(job string) string {
	_, rest, _ := strings.Cut(job, "# atrun uid=")
	uid, _, _ := strings.Cut(rest, " ")
	return uid
}

// tail returns the last n of l.
func tail(l []string, n int) []string { return slices.Clone(l[max(0, len(l)-n):]) }
