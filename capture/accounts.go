package capture

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"
)

// accounts observes users and groups.
type accounts struct{}

func (accounts) Name() string    { return "users" }
func (accounts) Kinds() []string { return []string{User, Group} }

func (accounts) Collect(ctx context.Context, src Source, out *Sink) error {
	shadow := readShadow(src, out)
	for _, u := range readPasswd(src, out) {
		a := attrs("uid", u.uid, "gid", u.gid, "gecos", line(u.gecos), "home", line(u.home), "shell", line(u.shell))
		for k, v := range shadow[u.name] {
			a[k] = v
		}
		out.Add(Record{User, Escape(u.name), a})
	}
	for l := range strings.Lines(text(src, out, "users", "/etc/group")) {
		f := strings.Split(strings.TrimSpace(l), ":")
		if len(f) < 4 || f[0] == "" {
			continue
		}
		members := strings.Split(f[3], ",")
		slices.Sort(members)
		out.Add(Record{Group, Escape(f[0]), attrs("gid", line(f[2]), "members", line(strings.Join(members, ",")))})
	}
	return nil
}

// account is one line of /etc/passwd.
type account struct{ name, uid, gid, gecos, home, shell string }

func readPasswd(src Source, out *Sink) []account {
	var found []account
	for l := range strings.Lines(text(src, out, "users", "/etc/passwd")) {
		f := strings.Split(strings.TrimRight(l, "\n"), ":")
		if len(f) < 7 || f[0] == "" {
			continue
		}
		found = append(found, account{f[0], line(f[2]), line(f[3]), f[4], f[5], f[6]})
	}
	return found
}

// readShadow tells of each account's password what may be told: whether it can
// be used, and a digest of it that only shows that it changed.
func readShadow(src Source, out *Sink) map[string]map[string]string {
	found := map[string]map[string]string{}
	for l := range strings.Lines(text(src, out, "users", "/etc/shadow")) {
		f := strings.Split(strings.TrimSpace(l), ":")
		if len(f) < 3 {
			continue
		}
		a := attrs("password", "set", "password_changed", line(f[2]))
		switch {
		case f[1] == "":
			a["password"] = "none"
		case strings.HasPrefix(f[1], "!"), strings.HasPrefix(f[1], "*"):
			a["password"] = "locked"
		default:
			sum := sha256.Sum256([]byte(f[1]))
			a["password_digest"] = hex.EncodeToString(sum[:6])
		}
		found[f[0]] = a
	}
	return found
}

// home is a folder in which a person or root keeps things.
type home struct{ user, dir string }

// homes returns the homes of root, of the accounts of people, and the folders of
// /home that belong to no account, in the order of their paths.
func homes(src Source, out *Sink) []home {
	found := map[string]string{"/root": "root"}
	for _, u := range readPasswd(src, out) {
		uid, err := strconv.Atoi(u.uid)
		if err == nil && (uid == 0 || uid >= 1000 && uid < 65534) && path.IsAbs(u.home) && path.Clean(u.home) != "/" {
			found[path.Clean(u.home)] = Escape(u.name)
		}
	}
	for _, name := range entriesOf(src, out, "users", "/home") {
		if dir := path.Join("/home", name); found[dir] == "" {
			found[dir] = Escape(name)
		}
	}
	var all []home
	for dir, user := range found {
		if st, err := src.Lstat(dir); err == nil && st.Mode&typeMask == typeDir {
			all = append(all, home{user, dir})
		}
	}
	slices.SortFunc(all, func(a, b home) int { return strings.Compare(a.dir, b.dir) })
	return all
}
