package fake

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// accountFiles are the tables of accounts; a user is one line of each.
var accountFiles = []string{"/etc/passwd", "/etc/group", "/etc/shadow"}

// addUser adds an account with a home of its own. uid 0: the next that is free.
func (g *system) addUser(name string, uid int, shell string) error {
	if _, ok := g.user(name); ok {
		return fmt.Errorf("user '%s' already exists: %w", name, fs.ErrExist)
	}
	if _, taken := g.user(strconv.Itoa(uid)); taken && uid != 0 {
		return fmt.Errorf("UID %d is not unique: %w", uid, fs.ErrExist)
	}
	for next := 1000; uid == 0; next++ {
		if _, taken := g.user(strconv.Itoa(next)); !taken {
			uid = next
		}
	}
	home := "/home/" + name
	lines := []string{
		fmt.Sprintf("%s:x:%d:%d::%s:%s\n", name, uid, uid, home, shell),
		fmt.Sprintf("%s:x:%d:\n", name, uid),
		fmt.Sprintf("%s:!:19000:0:99999:7:::\n", name),
	}
	for i, file := range accountFiles {
		old, err := g.disk.read(file, 0)
		if err == nil {
			err = g.disk.write(file, append(old, lines[i]...), 0o644, 0)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(g.disk.mkdirAll(home, 0o755, 0), g.disk.chown(home, uid, 0))
}

// deleteUser takes an account and its home away.
func (g *system) deleteUser(name string) error {
	u, ok := g.user(name)
	if !ok {
		return fmt.Errorf("user '%s' does not exist: %w", name, fs.ErrNotExist)
	}
	for _, file := range accountFiles {
		old, err := g.disk.read(file, 0)
		if err != nil {
			return err
		}
		var kept strings.Builder
		for line := range strings.Lines(string(old)) {
			if !strings.HasPrefix(line, name+":") {
				kept.WriteString(line)
			}
		}
		if err := g.disk.write(file, []byte(kept.String()), 0o644, 0); err != nil {
			return err
		}
	}
	return g.disk.remove(u.home, true, 0)
}

// maySudo reports whether a file in sudoers.d lets the user become another.
func (g *system) maySudo(u user) bool {
	if u.uid == 0 {
		return true
	}
	list, _ := g.disk.list("/etc/sudoers.d", 0)
	for _, e := range list {
		text, _ := g.disk.read("/etc/sudoers.d/"+e.name, 0)
		if strings.Contains("\n"+string(text), "\n"+u.name+" ALL=") {
			return true
		}
	}
	return false
}

// useradd knows --uid and --shell; every user gets a home and a group.
func useradd(c *call) int {
	uid, shell, name := 0, "/bin/sh", ""
	args := c.args[1:]
	for i := 0; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch args[i] {
		case "--uid", "-u":
			uid, _ = strconv.Atoi(value)
			i++
		case "--shell", "-s":
			shell = value
			i++
		case "--groups", "-G", "--comment", "-c", "--home-dir", "-d", "--gid", "-g":
			i++
		default:
			if !strings.HasPrefix(args[i], "-") {
				name = args[i]
			}
		}
	}
	return c.account(9, name, func() error { return c.g.addUser(name, uid, shell) })
}

// userdel takes a user away, and with --force what runs as that user too.
func userdel(c *call) int {
	_, rest := c.flags()
	name := strings.Join(rest, " ")
	return c.account(6, name, func() error {
		if slices.Contains(c.args, "--force") || slices.Contains(c.args, "-f") {
			c.g.procs.kill("SIGKILL", func(p *process) bool { return p.User == name })
		}
		return c.g.deleteUser(name)
	})
}

// usermod can set a field of /etc/shadow, with -p; the rest it accepts.
func usermod(c *call) int {
	args := c.args[1:]
	name := args[len(args)-1]
	return c.account(6, name, func() error {
		if i := slices.Index(args, "-p"); i >= 0 && i+1 < len(args) {
			return c.g.setPassword(name, args[i+1])
		}
		return nil
	})
}

// chpasswd reads lines of NAME:PASSWORD.
func chpasswd(c *call) int {
	for _, line := range lines(c.stdin) {
		name, password, _ := strings.Cut(line, ":")
		if code := c.account(1, name, func() error { return c.g.setPassword(name, plainHash+password) }); code != 0 {
			return code
		}
	}
	return 0
}

// plainHash begins the field of a password in a fake guest: nothing is secret.
const plainHash = "$plain$"

// setPassword writes the second field of a user's line in /etc/shadow.
func (g *system) setPassword(name, field string) error {
	old, err := g.disk.read("/etc/shadow", 0)
	if err != nil {
		return err
	}
	table := strings.Split(string(old), "\n")
	i := slices.IndexFunc(table, func(line string) bool { return strings.HasPrefix(line, name+":") })
	if i < 0 {
		return fmt.Errorf("user '%s' does not exist: %w", name, fs.ErrNotExist)
	}
	fields := strings.SplitN(table[i], ":", 3)
	table[i] = name + ":" + field + ":" + fields[len(fields)-1]
	return g.disk.write("/etc/shadow", []byte(strings.Join(table, "\n")), 0o640, 0)
}

// mayLogin reports whether the user may come in with the password.
func (g *system) mayLogin(name, password string) bool {
	table, _ := g.disk.read("/etc/shadow", 0)
	return password != "" && strings.Contains("\n"+string(table), "\n"+name+":"+plainHash+password+":")
}

// account edits the accounts, which is root's.
func (c *call) account(code int, name string, edit func() error) int {
	switch {
	case name == "":
		c.errorf("no user named")
		return 2
	case c.user.uid != 0:
		return c.errorf("Permission denied.")
	}
	if err := edit(); err != nil {
		c.errorf("%v", err)
		return code
	}
	return 0
}
