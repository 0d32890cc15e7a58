package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An account is a user as /etc/passwd and /etc/group have it. Name services are
// not asked: a static agent has none.
type account struct {
	name     string
	uid, gid int
	groups   []uint32 // supplementary
	home     string
	shell    string
}

const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// testUser is the login that commands run as when the guest has it.
const testUser = "tester"

// lookup finds the user called name. An empty name is the test user, or root, or,
// for an agent without privileges, the agent's own user. The account is shared:
// nobody changes it.
func lookup(name string) (*account, error) {
	return accounts.find(name, func() (*account, error) { return readAccount(name) })
}

// readAccount is lookup without a memory.
func readAccount(name string) (*account, error) {
	passwd, err := os.ReadFile(passwdFile)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return findAccount(string(passwd), name)
	}
	if os.Getuid() != 0 {
		return self(string(passwd)), nil
	}
	if a, err := findAccount(string(passwd), testUser); err == nil {
		return a, nil
	}
	return findAccount(string(passwd), "root")
}

// findAccount looks up a login name.
func findAccount(passwd, name string) (*account, error) {
	for line := range strings.Lines(passwd) {
		if a := parseAccount(line); a != nil && a.name == name {
			a.groups = groupsOf(name)
			return a, nil
		}
	}
	return nil, fmt.Errorf("user %s: not in the guest's /etc/passwd: %w", printable(name, maxWord), ErrUser)
}

// self returns the agent's own user, in or out of the list.
func self(passwd string) *account {
	for line := range strings.Lines(passwd) {
		if a := parseAccount(line); a != nil && a.uid == os.Getuid() {
			return a
		}
	}
	return &account{name: strconv.Itoa(os.Getuid()), uid: os.Getuid(), gid: os.Getgid(), home: "/", shell: "/bin/sh"}
}

// parseAccount reads one line of /etc/passwd; nil if it is none.
func parseAccount(line string) *account {
	f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
	if len(f) < 7 {
		return nil
	}
	uid, uerr := strconv.ParseUint(f[2], 10, 32)
	gid, gerr := strconv.ParseUint(f[3], 10, 32)
	if uerr != nil || gerr != nil {
		return nil
	}
	a := &account{name: f[0], uid: int(uid), gid: int(gid), home: f[5], shell: f[6]}
	if !filepath.IsAbs(a.home) {
		a.home = "/"
	}
	if a.shell == "" {
		a.shell = "/bin/sh"
	}
	return a
}

// maxGroups is as many as the kernel takes.
const maxGroups = 65536

// groupsOf returns the groups that name is a member of by /etc/group.
func groupsOf(name string) []uint32 {
	group, err := os.ReadFile(groupFile)
	if err != nil {
		return nil
	}
	var ids []uint32
	for line := range strings.Lines(string(group)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 || !contains(f[3], name) {
			continue
		}
		if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil && len(ids) < maxGroups {
			ids = append(ids, uint32(gid))
		}
	}
	return ids
}

// contains reports whether a comma-separated list has name.
func contains(list, name string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if item == name {
			return true
		}
	}
	return false
}

// userNames maps user ids to names, for lists of processes.
func userNames() map[int]string {
	passwd, _ := os.ReadFile(passwdFile)
	names := map[int]string{}
	for line := range strings.Lines(string(passwd)) {
		if a := parseAccount(line); a != nil && names[a.uid] == "" {
			names[a.uid] = a.name
		}
	}
	return names
}

// environment returns what a login of the account begins with, and extra over it.
func (a *account) environment(extra map[string]string) []string {
	path := "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
	if a.uid == 0 {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	env := map[string]string{
		"HOME": a.home, "USER": a.name, "LOGNAME": a.name, "SHELL": a.shell, "PATH": path, "LANG": "C.UTF-8",
	}
	for k, v := range extra {
		env[k] = v
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return list
}

// expand resolves ~ and ~user at the beginning of a guest path, for the account
// called user. Any other path must be absolute.
func expand(path, user string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		if !filepath.IsAbs(path) || strings.Contains(path, "\x00") {
			return "", fmt.Errorf("%s: want a path that begins with / or ~", printable(path, maxPath))
		}
		return path, nil
	}
	name, rest, slash := strings.Cut(path[1:], "/")
	if name == "" {
		name = user
	}
	a, err := lookup(name)
	if err != nil {
		return "", err
	}
	if !slash {
		return a.home, nil
	}
	full := filepath.Join(a.home, rest)
	if strings.HasSuffix(path, "/") {
		full += "/"
	}
	return full, nil
}
