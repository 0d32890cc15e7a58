package capture

import (
	"context"
	"path"
	"strings"
)

// environment observes what every login or shell begins with.
type environment struct{}

func (environment) Name() string    { return "environment" }
func (environment) Kinds() []string { return []string{Environment} }

var systemStarts = []string{"/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/zshenv", "/etc/zsh/zshrc", "/etc/zsh/zprofile", "/etc/zshenv", "/etc/zshrc", "/etc/csh.cshrc", "/etc/login.defs", "/etc/security/pam_env.conf"}

var userStarts = []string{".profile", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".kshrc", ".cshrc", ".tcshrc", ".login", ".pam_environment", ".config/fish/config.fish", ".xprofile", ".xsession", ".xinitrc"}

func (environment) Collect(ctx context.Context, src Source, out *Sink) error {
	variables(src, out, "/etc/environment")
	for _, name := range entriesOf(src, out, "environment", "/etc/environment.d") {
		variables(src, out, path.Join("/etc/environment.d", name))
	}
	for _, p := range systemStarts {
		start(src, out, "", p)
	}
	for _, dir := range []string{"/etc/profile.d", "/etc/fish/conf.d"} {
		for _, name := range entriesOf(src, out, "environment", dir) {
			start(src, out, "", path.Join(dir, name))
		}
	}
	for _, h := range homes(src, out) {
		for _, name := range userStarts {
			start(src, out, h.user, path.Join(h.dir, name))
		}
		for _, name := range entriesOf(src, out, "environment", path.Join(h.dir, ".config/environment.d")) {
			variables(src, out, path.Join(h.dir, ".config/environment.d", name))
		}
	}
	return nil
}

// variables emits the assignments of a file of NAME=value lines; of two for one
// name the last counts.
func variables(src Source, out *Sink, file string) {
	found := map[string]string{}
	for _, l := range lines(text(src, out, "environment", file)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(l, "export "), "=")
		if ok {
			found[line(name)] = line(strings.Trim(value, `"'`))
		}
	}
	for name, value := range found {
		out.Add(Record{Environment, cut(Escape(file)+": "+name, maxWord), attrs("file", Escape(file), "name", name, "value", value)})
	}
}

// start emits a shell start file, with the lines of it that set PATH.
func start(src Source, out *Sink, user, p string) {
	st, err := src.Lstat(p)
	if err != nil || st.Mode&typeMask == typeDir {
		return
	}
	var paths []string
	for _, l := range lines(text(src, out, "environment", p)) {
		if setsPath(l) {
			paths = append(paths, l)
		}
	}
	out.Add(Record{Environment, Escape(p), attrs("file", Escape(p), "user", user, "sha256", digestOf(src, out, "environment", p), "path", line(strings.Join(paths, "; ")))})
}

// setsPath reports whether a line of shell sets PATH.
func setsPath(l string) bool {
	l = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(l, "export "), "set -x "))
	return strings.HasPrefix(l, "PATH=") || strings.HasPrefix(l, "PATH ") || strings.HasPrefix(l, "path=(") || strings.Contains(l, " PATH=") || strings.HasPrefix(l, "fish_add_path ")
}
