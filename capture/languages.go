package capture

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"
)

// place is a folder that may hold packages, and whose it is: "" for everybody's.
type place struct{ user, dir string }

// places expands folders and their globs: system's for everybody, personal ones in each
// home. Only whole names may be globs.
func places(src Source, out *Sink, people []home, system, personal []string) []place {
	var found []place
	for _, pattern := range system {
		found = append(found, expand(src, out, place{"", "/"}, pattern)...)
	}
	for _, h := range people {
		for _, pattern := range personal {
			found = append(found, expand(src, out, place{h.user, h.dir}, pattern)...)
		}
	}
	return found
}

// maxPlaces bounds what a glob may find.
const maxPlaces = 10_000

func expand(src Source, out *Sink, base place, pattern string) []place {
	found := []place{base}
	for name := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []place
		for _, p := range found {
			next = append(next, descend(src, out, p, name)...)
		}
		found = next[:min(len(next), maxPlaces)]
	}
	return found
}

// descend returns the folders of p that the name or glob means.
func descend(src Source, out *Sink, p place, name string) []place {
	names := []string{name}
	if strings.ContainsAny(name, "*?[") {
		names = slices.DeleteFunc(entriesOf(src, out, "packages", p.dir), func(n string) bool {
			ok, _ := path.Match(name, n)
			return !ok
		})
	}
	var found []place
	for _, n := range names {
		dir := path.Join(p.dir, n)
		if st, err := src.Lstat(dir); err == nil && st.Mode&typeMask == typeDir {
			found = append(found, place{p.user, dir})
		}
	}
	return found
}

// pip reads the metadata of Python's packages. Those of the distribution have
// their own package, and are told all the same: a script may need them.
func pip(src Source, out *Sink, people []home) {
	for _, p := range places(src, out, people,
		[]string{"/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages", "/usr/lib/python3/dist-packages", "/usr/local/lib/python3*/dist-packages", "/usr/local/lib/python3*/site-packages"},
		[]string{".local/lib/python3*/site-packages", ".local/pipx/venvs/*/lib/python3*/site-packages", ".local/share/pipx/venvs/*/lib/python3*/site-packages"}) {
		for _, name := range entriesOf(src, out, "packages", p.dir) {
			switch path.Ext(name) {
			case ".dist-info":
				pipPackage(src, out, p, name, "METADATA")
			case ".egg-info":
				pipPackage(src, out, p, name, "PKG-INFO")
			}
		}
	}
}

func pipPackage(src Source, out *Sink, p place, name, file string) {
	dir := path.Join(p.dir, name)
	meta := path.Join(dir, file)
	if st, err := src.Lstat(dir); err == nil && st.Mode&typeMask == typeFile {
		meta = dir // an egg-info may be the file itself
	}
	head, _, _ := strings.Cut(text(src, out, "packages", meta), "\n\n")
	paragraphs(head, " Name Version ", func(f map[string]string) {
		if f["Name"] != "" {
			out.Add(pkg("pip", f["Name"], f["Version"], p.user, "path", Escape(dir), "files", cut(pipFiles(src, out, p.dir, dir), maxAttr)))
		}
	})
}

// pipFiles reads RECORD: a path, relative to the folder of packages, a digest and
// a size a line.
func pipFiles(src Source, out *Sink, site, dir string) string {
	var owned strings.Builder
	for l := range strings.Lines(text(src, out, "packages", path.Join(dir, "RECORD"))) {
		p, _, _ := strings.Cut(strings.TrimSpace(l), ",")
		if p = strings.Trim(p, `"`); !path.IsAbs(p) {
			p = path.Join(site, p)
		}
		owned.WriteString(p + "\n")
		if dir := path.Dir(p); dir != site {
			owned.WriteString(dir + "\n")
		}
	}
	return owned.String()
}

// npm reads the package.json of each globally installed package.
func npm(src Source, out *Sink, people []home) {
	for _, p := range places(src, out, people,
		[]string{"/usr/lib/node_modules", "/usr/local/lib/node_modules", "/usr/share/nodejs", "/opt/*/lib/node_modules"},
		[]string{".npm-global/lib/node_modules", ".local/lib/node_modules", ".nvm/versions/node/*/lib/node_modules", "node_modules"}) {
		for _, name := range entriesOf(src, out, "packages", p.dir) {
			dir := path.Join(p.dir, name)
			if !strings.HasPrefix(name, "@") {
				npmPackage(src, out, p.user, dir)
				continue
			}
			for _, scoped := range entriesOf(src, out, "packages", dir) {
				npmPackage(src, out, p.user, path.Join(dir, scoped))
			}
		}
	}
}

func npmPackage(src Source, out *Sink, user, dir string) {
	data, err := src.ReadFile(path.Join(dir, "package.json"), 1<<20)
	if err != nil {
		return // no package
	}
	var m struct{ Name, Version string }
	if json.Unmarshal(data, &m) != nil || m.Name == "" {
		out.Problem("packages: %s/package.json: no name of a package", dir)
		return
	}
	out.Add(pkg("npm", m.Name, m.Version, user, "path", Escape(dir)))
}

// gemName takes "rack-2.2.6.4" and "nokogiri-1.13.10-x86_64-linux" apart.
var gemName = regexp.MustCompile(`^(.+?)-(\d[^-]*)(?:-(.+))?$`)

// gem lists the specifications of Ruby's packages.
func gem(src Source, out *Sink, people []home) {
	for _, p := range places(src, out, people,
		[]string{"/var/lib/gems/*", "/usr/share/rubygems-integration/*", "/usr/local/lib/ruby/gems/*", "/usr/lib/ruby/gems/*", "/usr/share/gems"},
		[]string{".gem/ruby/*", ".local/share/gem/ruby/*"}) {
		for _, file := range entriesOf(src, out, "packages", path.Join(p.dir, "specifications")) {
			name, ok := strings.CutSuffix(file, ".gemspec")
			m := gemName.FindStringSubmatch(name)
			if !ok || m == nil {
				continue
			}
			owned := path.Join(p.dir, "specifications", file) + "\n" + path.Join(p.dir, "cache", name+".gem") + "\n"
			out.Add(pkg("gem", m[1], m[2], p.user, "arch", m[3], "path", Escape(path.Join(p.dir, "gems", name)), "files", owned))
		}
	}
}

// cargo reads what "cargo install" notes of its programs.
func cargo(src Source, out *Sink, people []home) {
	for _, p := range places(src, out, people, []string{"/usr/local/cargo", "/opt/cargo"}, []string{".cargo"}) {
		data, err := src.ReadFile(path.Join(p.dir, ".crates2.json"), 4<<20)
		if err != nil {
			continue
		}
		var m struct {
			Installs map[string]struct{ Bins []string }
		}
		if err := json.Unmarshal(data, &m); err != nil {
			out.Problem("packages: %s/.crates2.json: %v", p.dir, err)
			continue
		}
		for id, in := range m.Installs { // "ripgrep 14.1.0 (registry+https://…)"
			f := strings.Fields(id)
			if len(f) < 2 {
				continue
			}
			var owned strings.Builder
			for _, b := range in.Bins {
				owned.WriteString(path.Join(p.dir, "bin", b) + "\n")
			}
			out.Add(pkg("cargo", f[0], f[1], p.user, "files", owned.String()))
		}
	}
}

// golang lists the programs of "go install". Their versions are inside of them.
func golang(src Source, out *Sink, people []home) {
	for _, p := range places(src, out, people, nil, []string{"go/bin"}) {
		for _, name := range entriesOf(src, out, "packages", p.dir) {
			out.Add(pkg("go", name, "", p.user, "path", Escape(path.Join(p.dir, name))))
		}
	}
}
