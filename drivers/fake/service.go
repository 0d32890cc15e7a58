package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"assay"
	"assay/guest"
)

// adminWords are the programs of those who administer a guest. They need root.
func adminWords() map[string]func(*call) int {
	return map[string]func(*call) int{
		"chpasswd": chpasswd, "cloud-init": cloudInitWord, "ip": ip, "modprobe": yes, "mount": mount,
		"poweroff": powerWord, "reboot": powerWord, "shutdown": powerWord, "stat": statWord, "systemctl": systemctl,
		"umount": umount, "useradd": useradd, "userdel": userdel, "usermod": usermod,
	}
}

// agentUnit is the one unit whose program a fake guest can run.
const agentUnit = "assay-agent.service"

// A service is the agent's, while it runs. It never changes.
type service struct {
	pid  int
	args []string
}

// listens returns the arguments of the agent's service, if it runs.
func (g *system) listens() ([]string, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.service == nil {
		return nil, false
	}
	return g.service.args, true
}

// runAgent runs a program that is the agent's; is: it was.
func (c *call) runAgent(program []byte) (code int, is bool) {
	if len(c.g.agent) == 0 || !bytes.Equal(program, c.g.agent) {
		return 0, false
	}
	switch args := strings.Join(c.args[1:], " "); args {
	case "version":
		fmt.Fprintf(c.stdout, "%s (protocol %d)\n", assay.Version, guest.Protocol)
		return 0, true
	case "stdio":
		if c.user.uid != 0 {
			return c.errorf("stdio: got user %s, want root", c.user.name), true
		}
		if err := c.g.serve(c.ctx, relay(c.stdin, c.stdout)); err != nil && c.ctx.Err() == nil {
			return c.errorf("%v", err), true
		}
		return 0, true
	default:
		return c.errorf("got %q, want version or stdio; the rest is the service's", args), true
	}
}

// relay makes a stream that can be closed out of the ends of a process.
func relay(in io.Reader, out io.Writer) io.ReadWriteCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	return struct {
		io.Reader
		io.Writer
		io.Closer
	}{r, out, r}
}

// unit returns where a unit's file is, "" if it is nowhere, and its full name.
func (g *system) unit(name string) (file, full string) {
	if path.Ext(name) == "" {
		name += ".service"
	}
	for _, dir := range []string{"/etc/systemd/system/", "/run/systemd/system/", "/lib/systemd/system/"} {
		if _, err := g.disk.stat(dir+name, true); err == nil {
			return dir + name, name
		}
	}
	return "", name
}

// wants is where an enabled unit has its link.
func wants(unit string) string { return "/etc/systemd/system/multi-user.target.wants/" + unit }

// startUnits starts what is enabled, at boot.
func (g *system) startUnits() error {
	if _, err := g.disk.stat(wants(agentUnit), true); err != nil {
		return nil
	}
	return g.startUnit(agentUnit)
}

// startUnit starts the program of a unit, if it is the agent; of other units a
// fake guest has none.
func (g *system) startUnit(name string) error {
	file, full := g.unit(name)
	if file == "" {
		return fmt.Errorf("Unit %s not found.", full)
	}
	text, err := g.disk.read(file, 0)
	if err != nil || full != agentUnit {
		return err
	}
	var argv []string
	for line := range strings.Lines(string(text)) {
		if command, ok := strings.CutPrefix(line, "ExecStart="); ok {
			argv = strings.Fields(command)
		}
	}
	if len(argv) == 0 {
		return fmt.Errorf("%s has no ExecStart", full)
	}
	program, err := g.disk.read(argv[0], 0)
	if st, statErr := g.disk.stat(argv[0], true); err != nil || statErr != nil || st.Mode().Perm()&0o111 == 0 || !bytes.Equal(program, g.agent) {
		return fmt.Errorf("%s: %s is no program that runs here: %w", full, argv[0], err)
	}
	g.stopUnit(full)
	_, pid, err := g.procs.start(g.life, "root", 1, 0, argv)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.service = &service{pid: pid, args: argv[1:]}
	return nil
}

// stopUnit ends the program of a unit, if it runs.
func (g *system) stopUnit(full string) {
	g.mu.Lock()
	s := g.service
	if full == agentUnit {
		g.service = nil
	}
	g.mu.Unlock()
	if s != nil && full == agentUnit {
		g.procs.kill("SIGTERM", func(p *process) bool { return p.PID == s.pid })
	}
}

// systemctl knows what is done with units. Options change nothing but --now.
func systemctl(c *call) int {
	var rest []string
	for _, arg := range c.args[1:] {
		if !strings.HasPrefix(arg, "-") {
			rest = append(rest, arg)
		}
	}
	if len(rest) == 0 {
		return 0
	}
	verb, units := rest[0], rest[1:]
	switch {
	case verb == "is-system-running":
		fmt.Fprintln(c.stdout, "running")
		return 0
	case verb == "poweroff" || verb == "reboot":
		return powerWord(c)
	case c.user.uid != 0 && !strings.HasPrefix(verb, "is-"):
		return c.errorf("Interactive authentication required.")
	}
	code := 0
	for _, unit := range units {
		if err := c.unitVerb(verb, unit, slices.Contains(c.args, "--now")); err != nil {
			fmt.Fprintln(c.stderr, err)
			code = 5
		}
	}
	return code
}

// unitVerb does one thing with one unit.
func (c *call) unitVerb(verb, unit string, now bool) error {
	file, full := c.g.unit(unit)
	var err error
	switch verb {
	case "start", "restart":
		return c.g.startUnit(unit)
	case "stop":
		c.g.stopUnit(full)
	case "enable":
		if file == "" {
			return fmt.Errorf("Failed to enable unit: Unit file %s does not exist.", full)
		}
		if err = c.g.disk.mkdirAll(dirOf(wants(full)), 0o755, 0); err == nil {
			_ = c.g.disk.remove(wants(full), false, 0)
			err = c.g.disk.symlink(file, wants(full), 0)
		}
		if err == nil && now {
			err = c.g.startUnit(unit)
		}
	case "disable":
		_ = c.g.disk.remove(wants(full), false, 0)
		if now {
			c.g.stopUnit(full)
		}
	case "is-active":
		if _, ok := c.g.listens(); !ok || full != agentUnit {
			return fmt.Errorf("inactive")
		}
		fmt.Fprintln(c.stdout, "active")
	}
	return err
}

// powerWord is poweroff, reboot, and shutdown with -r for the latter.
func powerWord(c *call) int {
	if c.user.uid != 0 {
		return c.errorf("must be root.")
	}
	if c.g.computer == nil {
		return c.errorf("this guest has no power switch")
	}
	again := slices.Contains(c.args, "reboot") || slices.Contains(c.args, "-r") || path.Base(c.args[0]) == "reboot"
	go c.g.computer.stop(again)
	<-c.g.life.Done() // nothing that follows in a script runs
	return 0
}

// stop is the guest's own end, or its beginning anew.
func (c *Computer) stop(again bool) {
	c.Shutdown()
	if again {
		_ = c.On()
	}
}

// syncWord flushes the disk of a computer.
func syncWord(c *call) int {
	if c.g.computer != nil {
		c.g.computer.flush(c.g)
	}
	return 0
}

// mount knows the seed disk only.
func mount(c *call) int {
	dir := c.args[len(c.args)-1]
	if c.user.uid != 0 {
		return c.errorf("only root can do that")
	}
	if !slices.Contains(c.args, "LABEL=cidata") && !slices.Contains(c.args, "/dev/disk/by-label/cidata") {
		return c.errorf("only LABEL=cidata is known here")
	}
	if len(c.g.seedFiles) == 0 {
		c.errorf("%s: can't find LABEL=cidata.", dir)
		return 32
	}
	for name, data := range c.g.seedFiles {
		if err := c.g.put(path.Join(c.path(dir), name), string(data), 0o644); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// umount empties the folder.
func umount(c *call) int {
	dir := c.path(c.args[len(c.args)-1])
	list, err := c.g.disk.list(dir, c.user.uid)
	if err != nil {
		return c.fail(err)
	}
	for _, e := range list {
		if err := c.g.disk.remove(path.Join(dir, e.name), true, c.user.uid); err != nil {
			return c.fail(err)
		}
	}
	return 0
}

// rules is where a fake kernel keeps its routing rules, a line each.
const rules = "/run/ip-rules"

// ip knows "ip -4 rule add pref N …", "rule del pref N" and "rule".
func ip(c *call) int {
	_, rest := c.flags()
	if len(rest) == 0 || rest[0] != "rule" {
		return 0 // there is no network to say anything of
	}
	old, _ := c.g.disk.read(rules, 0)
	family := "-4 "
	if slices.Contains(c.args, "-6") {
		family = "-6 "
	}
	rule := family + strings.Join(rest[min(len(rest), 2):], " ") + "\n"
	switch {
	case len(rest) < 2 || rest[1] == "list" || rest[1] == "show":
		_, _ = c.stdout.Write(old)
		return 0
	case c.user.uid != 0:
		c.errorf("RTNETLINK answers: Operation not permitted")
		return 2
	case rest[1] == "add":
		old = append(old, rule...)
	default:
		i := strings.Index("\n"+string(old), "\n"+strings.TrimSpace(rule))
		if i < 0 {
			c.errorf("RTNETLINK answers: No such file or directory")
			return 2
		}
		_, after, _ := strings.Cut(string(old[i:]), "\n")
		old = append(old[:i:i], after...)
	}
	if err := c.g.put(rules, string(old), 0o644); err != nil {
		return c.fail(err)
	}
	return 0
}

// statWord is stat -c with one of %u, %g, %a, %s and %U.
func statWord(c *call) int {
	args := c.args[1:]
	if len(args) < 3 || args[0] != "-c" {
		return c.errorf("only \"stat -c FORMAT FILE…\" is known here")
	}
	for _, p := range args[2:] {
		st, err := c.g.disk.stat(c.path(p), true)
		if err != nil {
			return c.fail(err)
		}
		fmt.Fprintln(c.stdout, strings.NewReplacer("%u", fmt.Sprint(st.uid), "%g", fmt.Sprint(st.gid),
			"%a", fmt.Sprintf("%o", st.Mode().Perm()), "%s", fmt.Sprint(st.size), "%U", c.g.login(st.uid), "%n", p).Replace(args[1]))
	}
	return 0
}

// cloudInitWord is "cloud-init status --wait".
func cloudInitWord(c *call) int {
	fmt.Fprintln(c.stdout, "status: done")
	return 0
}

// cloudInit does what the seed disk's user-data says, as far as a fake guest
// can: bootcmd and runcmd. What they print is in cloud-init's log.
func (g *system) cloudInit(power context.Context) error {
	var log bytes.Buffer
	for _, key := range []string{"bootcmd", "runcmd"} {
		for _, argv := range userCommands(string(g.seedFiles["user-data"]), key) {
			exit, err := g.Exec(power, guest.Command{Argv: argv, User: "root", Dir: "/"}, guest.Streams{Stdout: &log, Stderr: &log})
			if err != nil || exit.Code != 0 {
				fmt.Fprintf(&log, "%s: %q: exit code %d, %v\n", key, argv, exit.Code, err)
			}
		}
	}
	if log.Len() == 0 {
		return nil
	}
	return g.put("/var/log/cloud-init-output.log", log.String(), 0o640)
}

// userCommands reads the list under a key of user-data, whose items are flow
// sequences, "[sh, -c, 'a b']", or lines of shell.
func userCommands(data, key string) [][]string {
	var all [][]string
	inside := false
	for line := range strings.Lines(data) {
		trimmed := strings.TrimSpace(line)
		item, isItem := strings.CutPrefix(trimmed, "- ")
		switch {
		case !isItem && !strings.HasPrefix(line, " "):
			inside = trimmed == key+":"
		case inside && isItem && strings.HasPrefix(item, "["):
			all = append(all, flow(strings.Trim(item, "[]")))
		case inside && isItem:
			all = append(all, []string{"sh", "-c", strings.Join(flow(item), ", ")})
		}
	}
	return all
}

// flow splits a flow sequence at the commas that no quotes protect.
func flow(s string) []string {
	var items []string
	var item strings.Builder
	quote := rune(0)
	for _, r := range s + "," {
		switch {
		case quote == 0 && r == ',':
			items = append(items, strings.TrimSpace(item.String()))
			item.Reset()
		case quote == 0 && (r == '\'' || r == '"') && strings.TrimSpace(item.String()) == "":
			quote = r
		case r == quote:
			quote = 0
		default:
			item.WriteRune(r)
		}
	}
	return items
}
