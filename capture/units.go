package capture

import (
	"context"
	"path"
	"slices"
	"strings"
)

// units observes systemd's services, timers, sockets and path units as they lie on
// the disk: where, and whether they start by themselves. Whether they run, and
// those that exist only at run time, is its live part's: activity.
type units struct{}

func (units) Name() string    { return "units" }
func (units) Kinds() []string { return []string{Unit} }

var unitTypes = []string{".service", ".timer", ".socket", ".path"}

// unitType returns "service" for "x.service", and "" for what is not observed.
func unitType(name string) string {
	ext := path.Ext(name)
	if !slices.Contains(unitTypes, ext) {
		return ""
	}
	return ext[1:]
}

func (units) Collect(ctx context.Context, src Source, out *Sink) error {
	found := unitFiles(src, out, diskUnits)
	for name, enabled := range found.enabled(out) {
		found.emit(name, enabled, out)
	}
	return ctx.Err()
}

// emit adds what the folders say of a unit.
func (u unitFolders) emit(name, enabled string, out *Sink) {
	if kind := unitType(name); kind != "" {
		out.Add(Record{Unit, Escape(name), attrs("type", kind, "enabled", line(enabled), "path", Escape(u.path(name)))})
	}
}

// unitDirs are where units lie, the first that has one wins: systemd's own order.
var unitDirs = []string{
	"/run/systemd/transient", "/run/systemd/generator.early", "/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
	"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/generator.late",
}

// runtimeUnit reports whether a unit's file, or a folder of such, is made anew at
// every boot.
func runtimeUnit(p string) bool { return strings.HasPrefix(p, "/run/") }

// diskUnits reports whether a folder of units lies on the disk.
func diskUnits(dir string) bool { return !runtimeUnit(dir) }

// unitFolders is what the folders of units hold.
type unitFolders struct {
	files map[string]string // unit → path
	links map[string]string // unit → target, for masked and linked ones
	wants map[string]bool   // units that something wants; true: in /etc, by the administrator
	src   Source
}

// unitFiles reads those of unitDirs that are wanted.
func unitFiles(src Source, out *Sink, wanted func(dir string) bool) unitFolders {
	u := unitFolders{files: map[string]string{}, links: map[string]string{}, wants: map[string]bool{}, src: src}
	for _, dir := range unitDirs {
		if !wanted(dir) {
			continue
		}
		for _, name := range entriesOf(src, out, "units", dir) {
			switch {
			case strings.HasSuffix(name, ".wants"), strings.HasSuffix(name, ".requires"):
				for _, w := range entriesOf(src, out, "units", path.Join(dir, name)) {
					u.want(w, strings.HasPrefix(dir, "/etc/"))
				}
			case unitType(name) != "" && u.files[name] == "":
				u.files[name] = path.Join(dir, name)
				u.links[name], _ = src.Readlink(path.Join(dir, name))
			}
		}
	}
	return u
}

// want notes a link that starts a unit; an instance stands for its template too.
func (u unitFolders) want(name string, etc bool) {
	u.wants[name] = u.wants[name] || etc
	if t := template(name); t != "" {
		u.wants[t] = u.wants[t] || etc
	}
}

// template returns "x@.service" for "x@tty1.service", and "" for no instance.
func template(name string) string {
	at := strings.IndexByte(name, '@')
	if at < 0 {
		return ""
	}
	return name[:at+1] + path.Ext(name)
}

// path returns the file of a unit, or of the template that it is an instance of.
func (u unitFolders) path(name string) string {
	if p := u.files[name]; p != "" {
		return p
	}
	return u.files[template(name)]
}

// enabled returns every unit and whether it starts by itself. The folders tell
// it: asking systemd costs a second on an emulated processor, because it reads
// the same folders anew.
func (u unitFolders) enabled(out *Sink) map[string]string {
	found := map[string]string{}
	for name, p := range u.files {
		found[name] = u.stateOf(name, p, out)
	}
	for name, etc := range u.wants {
		if _, ok := found[name]; !ok && u.path(name) != "" && etc {
			found[name] = "enabled"
		}
	}
	return found
}

func (u unitFolders) stateOf(name, p string, out *Sink) string {
	target := u.links[name]
	st, err := u.src.Lstat(p)
	switch {
	case target == "/dev/null" || err == nil && st.Mode&typeMask == typeFile && st.Size == 0:
		return "masked"
	case target != "" && unitType(path.Base(target)) != "" && path.Base(target) != name:
		return "alias"
	case strings.HasPrefix(p, "/run/systemd/generator"):
		return "generated"
	case strings.HasPrefix(p, "/run/systemd/transient/"):
		return "transient"
	case u.wants[name]:
		return "enabled"
	}
	data := text(u.src, out, "units", p)
	if !installs(data) {
		return "static"
	}
	if u.aliased(data) {
		return "enabled"
	}
	return "disabled"
}

// installs reports whether a unit's file says how it is enabled.
func installs(data string) bool {
	return slices.ContainsFunc(lines(data), func(l string) bool {
		k, v, _ := strings.Cut(l, "=")
		k = strings.TrimSpace(k)
		return strings.TrimSpace(v) != "" && (k == "WantedBy" || k == "RequiredBy" || k == "Alias" || k == "Also" || k == "UpheldBy")
	})
}

// aliased reports whether one of the unit's other names is in use.
func (u unitFolders) aliased(data string) bool {
	for _, l := range lines(data) {
		k, v, _ := strings.Cut(l, "=")
		if strings.TrimSpace(k) != "Alias" {
			continue
		}
		for _, name := range strings.Fields(v) {
			if strings.HasPrefix(u.files[name], "/etc/") {
				return true
			}
		}
	}
	return false
}
