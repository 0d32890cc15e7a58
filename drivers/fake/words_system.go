package fake

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// shellWord is sh and bash: -c LINE, a script, or standard input.
func shellWord(c *call) int {
	rest := c.args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' {
		if strings.HasSuffix(rest[0], "c") && len(rest) > 1 {
			return c.interpret(c.args[0], setFlags(rest[0])+rest[1], rest[min(len(rest), 3):])
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		src, err := c.g.disk.read(c.path(rest[0]), c.user.uid)
		if err != nil {
			fmt.Fprintf(c.stderr, "%s: %s: %v\n", c.args[0], rest[0], plain(err))
			return 127
		}
		return c.interpret(rest[0], string(src), rest[1:])
	}
	src, err := io.ReadAll(io.LimitReader(c.stdin, maxInput))
	if err != nil {
		return 1
	}
	return c.interpret(c.args[0], string(src), nil)
}

// setFlags turns the "-eu" of "sh -euc" into a line of shell.
func setFlags(flags string) string {
	flags = strings.NewReplacer("c", "", "l", "", "i", "", "-", "").Replace(flags)
	if flags == "" {
		return ""
	}
	return "set -" + flags + "\n"
}

func sleep(c *call) int {
	_, rest := c.flags()
	if len(rest) == 0 {
		return c.errorf("missing operand")
	}
	var timer <-chan time.Time
	if rest[0] != "infinity" {
		d, err := time.ParseDuration(strings.TrimRight(rest[0], "smhd") + unit(rest[0]))
		if err != nil {
			return c.errorf("invalid time interval '%s'", rest[0])
		}
		timer = time.After(d)
	}
	select {
	case <-timer:
		return 0
	case <-c.ctx.Done():
		return 143 // as if by SIGTERM
	}
}

// unit returns the unit of a number of seconds, minutes or hours.
func unit(s string) string {
	if strings.HasSuffix(s, "m") || strings.HasSuffix(s, "h") {
		return s[len(s)-1:]
	}
	return "s"
}

// prefix is nohup and setsid: they become the rest.
func prefix(c *call) int {
	_, rest := c.flags()
	c.g.procs.become(c.pid, rest)
	return c.again(rest)
}

func timeout(c *call) int {
	_, rest := c.flags()
	if len(rest) < 2 {
		return c.errorf("missing operand")
	}
	d, err := time.ParseDuration(strings.TrimRight(rest[0], "smh") + unit(rest[0]))
	if err != nil {
		return c.errorf("invalid time interval '%s'", rest[0])
	}
	ctx, cancel := context.WithTimeout(c.ctx, d)
	defer cancel()
	next := *c
	next.ctx = ctx
	code := next.again(rest[1:])
	if ctx.Err() != nil && c.ctx.Err() == nil {
		return 124
	}
	return code
}

// sudo runs the rest as root, or as another user; those may whom a file in
// sudoers.d allows it.
func sudo(c *call) int {
	rest := c.args[1:]
	who := "root"
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		if rest[0] == "-u" && len(rest) > 1 {
			who, rest = rest[1], rest[1:]
		}
		rest = rest[1:]
	}
	u, ok := c.g.user(who)
	if !ok {
		return c.errorf("unknown user %s", who)
	}
	if !c.g.maySudo(c.user) {
		return c.errorf("a password is required")
	}
	next, sh := *c, *c.shell
	sh.user = u
	next.shell = &sh
	vars, rest := assignments(rest)
	return next.withEnv(vars).again(rest)
}

// assignments splits the leading NAME=value words from the rest.
func assignments(args []string) (vars, rest []string) {
	for len(args) > 0 && strings.Contains(args[0], "=") {
		vars, args = append(vars, args[0]), args[1:]
	}
	return vars, args
}

// envWord prints the environment, or runs the rest with more of it.
func envWord(c *call) int {
	_, rest := c.flags()
	vars, rest := assignments(rest)
	next := c.withEnv(vars)
	if len(rest) > 0 {
		return next.again(rest)
	}
	for name, v := range next.env.Each {
		if v.Exported {
			fmt.Fprintf(c.stdout, "%s=%s\n", name, v.String())
		}
	}
	return 0
}

// withEnv returns the call with more variables, as name=value.
func (c *call) withEnv(more []string) *call {
	next := *c
	pairs := []string{}
	for name, v := range c.env.Each {
		if v.Exported {
			pairs = append(pairs, name+"="+v.String())
		}
	}
	next.env = expand.ListEnviron(append(pairs, more...)...)
	return &next
}

// killWord ends processes. "g1", which is what $! holds in this shell, is the
// first of the exec's processes that still runs beside its shells.
func killWord(c *call) int {
	signal, rest := "SIGTERM", c.args[1:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		signal, rest = signalName(rest[0][1:]), rest[1:]
	}
	code := 0
	for _, arg := range rest {
		pid, err := strconv.Atoi(arg)
		if job, ok := strings.CutPrefix(arg, "g"); ok {
			pid, err = c.job(job)
		}
		if err != nil || c.g.procs.kill(signal, func(p *process) bool { return p.PID == pid }) == 0 {
			code = c.errorf("(%s) - No such process", arg)
		}
	}
	return code
}

// signalName turns "9", "KILL" or "SIGKILL" into SIGKILL; what it does not know
// is SIGTERM.
func signalName(s string) string {
	for name, number := range signals {
		if s == name || "SIG"+s == name || s == strconv.Itoa(number) {
			return name
		}
	}
	return "SIGTERM"
}

// job returns the pid of the n-th of the exec's processes that is not a shell
// above this call. One that was sent into the background a moment ago may have
// to be waited for.
func (c *call) job(n string) (int, error) {
	want, err := strconv.Atoi(n)
	if err != nil {
		return 0, err
	}
	for range 50 {
		if jobs := c.jobs(); want >= 1 && want <= len(jobs) {
			return jobs[want-1], nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, fmt.Errorf("no job %s", n)
}

func (c *call) jobs() []int {
	var pids []int
	for _, p := range c.g.procs.list(c.group) {
		word, _, _ := strings.Cut(p.Command, " ")
		if word != "sh" && word != "bash" && p.PID != c.pid {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// matching returns a test for processes other than the caller's own word.
func (c *call) matching() (func(*process) bool, error) {
	_, rest := c.flags()
	if len(rest) == 0 {
		return nil, fmt.Errorf("no matching criteria specified")
	}
	re, err := regexp.Compile(rest[0])
	self := strings.Join(c.args, " ")
	return func(p *process) bool {
		return p.PID > 1 && p.PID != c.group && p.Command != self && re.MatchString(p.Command)
	}, err
}

func pkill(c *call) int {
	match, err := c.matching()
	if err != nil {
		return c.fail(err)
	}
	if c.g.procs.kill("SIGTERM", match) == 0 {
		return 1
	}
	return 0
}

func pgrep(c *call) int {
	match, err := c.matching()
	if err != nil {
		return c.fail(err)
	}
	code := 1
	for _, p := range c.g.procs.list(0) {
		if match(&process{Process: p}) {
			fmt.Fprintln(c.stdout, p.PID)
			code = 0
		}
	}
	return code
}

func ps(c *call) int {
	fmt.Fprintln(c.stdout, "    PID USER     COMMAND")
	for _, p := range c.g.procs.list(0) {
		fmt.Fprintf(c.stdout, "%7d %-8s %s\n", p.PID, p.User, p.Command)
	}
	return 0
}

func id(c *call) int {
	set, rest := c.flags()
	u := c.user
	if len(rest) > 0 {
		var ok bool
		if u, ok = c.g.user(rest[0]); !ok {
			return c.errorf("'%s': no such user", rest[0])
		}
	}
	switch {
	case set['u'] && set['n'], set['g'] && set['n']:
		fmt.Fprintln(c.stdout, u.name)
	case set['u'], set['g']:
		fmt.Fprintln(c.stdout, u.uid)
	default:
		fmt.Fprintf(c.stdout, "uid=%d(%s) gid=%d(%s) groups=%d(%s)\n", u.uid, u.name, u.uid, u.name, u.uid, u.name)
	}
	return 0
}

func whoami(c *call) int {
	fmt.Fprintln(c.stdout, c.user.name)
	return 0
}

func hostname(c *call) int {
	fmt.Fprintln(c.stdout, c.g.hostname())
	return 0
}

func uname(c *call) int {
	set, _ := c.flags()
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[c.g.os.Arch]
	switch {
	case set['a']:
		fmt.Fprintf(c.stdout, "Linux %s %s %s GNU/Linux\n", c.g.hostname(), kernel, machine)
	case set['r']:
		fmt.Fprintln(c.stdout, kernel)
	case set['m']:
		fmt.Fprintln(c.stdout, machine)
	case set['n']:
		fmt.Fprintln(c.stdout, c.g.hostname())
	default:
		fmt.Fprintln(c.stdout, "Linux")
	}
	return 0
}

func date(c *call) int {
	now := c.g.disk.now().UTC()
	format := time.UnixDate
	if len(c.args) > 1 && strings.HasPrefix(c.args[len(c.args)-1], "+") {
		f := strings.NewReplacer("%s", strconv.FormatInt(now.Unix(), 10), "%Y", now.Format("2006"), "%m", now.Format("01"),
			"%d", now.Format("02"), "%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"),
			"%F", now.Format(time.DateOnly), "%T", now.Format(time.TimeOnly), "%N", now.Format("000000000"))
		fmt.Fprintln(c.stdout, f.Replace(c.args[len(c.args)-1][1:]))
		return 0
	}
	fmt.Fprintln(c.stdout, now.Format(format))
	return 0
}

func which(c *call) int {
	_, rest := c.flags()
	code := 0
	for _, name := range rest {
		word, script, missing := c.lookup(name)
		switch {
		case interp.IsBuiltin(name):
			fmt.Fprintln(c.stdout, name)
		case missing != 0:
			code = 1
		case word != nil:
			fmt.Fprintln(c.stdout, "/usr/bin/"+name)
		default:
			fmt.Fprintln(c.stdout, script)
		}
	}
	return code
}

// crontab keeps a user's table in its spool file: - or FILE, -l, -r.
func crontab(c *call) int {
	spool := "/var/spool/cron/crontabs/" + c.user.name
	set, rest := c.flags()
	var err error
	switch {
	case set['l']:
		var table []byte
		if table, err = c.g.disk.read(spool, 0); err != nil {
			return c.errorf("no crontab for %s", c.user.name)
		}
		_, err = c.stdout.Write(table)
	case set['r']:
		err = c.g.disk.remove(spool, false, 0)
	default:
		var table []byte
		if c.inputs(rest, func(_ string, r io.Reader) { table, _ = io.ReadAll(r) }) != 0 {
			return 1
		}
		if err = c.g.disk.mkdirAll("/var/spool/cron/crontabs", 0o1730, 0); err == nil {
			err = c.g.disk.write(spool, table, 0o600, 0)
		}
	}
	if err != nil {
		return c.fail(err)
	}
	return 0
}
