package fake

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// statusFile is where dpkg keeps what is installed.
const statusFile = "/var/lib/dpkg/status"

// A pkg is a package that apt-get can install in a fake guest.
type pkg struct {
	version string
	depends []string
}

// pool is the offline package pool of every image.
var pool = map[string]pkg{
	"jq":       {version: "1.6-2.1+deb12u1", depends: []string{"libjq1"}},
	"libjq1":   {version: "1.6-2.1+deb12u1", depends: []string{"libonig5"}},
	"libonig5": {version: "6.9.8-1"},
	"tree":     {version: "2.1.0-1"},
}

// aptGet knows "install" and "remove" of the pool's packages, and "update".
func aptGet(c *call) int {
	_, rest := c.flags()
	rest = slices.DeleteFunc(slices.Clone(rest), func(a string) bool { return strings.HasPrefix(a, "-") })
	if len(rest) == 0 {
		return c.errorf("no operation")
	}
	if c.user.uid != 0 {
		fmt.Fprintln(c.stderr, "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)")
		fmt.Fprintln(c.stderr, "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?")
		return 100
	}
	edit := map[string]func(string) error{"install": c.g.install, "remove": c.g.uninstall, "purge": c.g.uninstall}[rest[0]]
	if edit == nil {
		return 0 // update, clean, …: nothing to fetch, nothing to tidy
	}
	for _, name := range rest[1:] {
		if _, ok := pool[name]; !ok {
			fmt.Fprintf(c.stderr, "E: Unable to locate package %s\n", name)
			return 100
		}
		if err := edit(name); err != nil {
			fmt.Fprintf(c.stderr, "E: %v\n", err)
			return 100
		}
		fmt.Fprintf(c.stdout, "Setting up %s (%s) ...\n", name, pool[name].version)
	}
	return 0
}

// install adds a package and what it depends on.
func (g *system) install(name string) error {
	if g.has(name) {
		return nil
	}
	p := pool[name]
	for _, d := range p.depends {
		if err := g.install(d); err != nil {
			return err
		}
	}
	files := packageFiles(name)
	for _, f := range slices.Sorted(maps.Keys(files)) {
		if err := g.put(f, files[f], 0o755); err != nil {
			return err
		}
	}
	list := "/.\n/usr/share/doc/" + name + "\n" + strings.Join(slices.Sorted(maps.Keys(files)), "\n") + "\n"
	if err := g.put("/var/lib/dpkg/info/"+name+".list", list, 0o644); err != nil {
		return err
	}
	status, err := g.disk.read(statusFile, 0)
	if err != nil {
		return err
	}
	return g.put(statusFile, string(status)+stanza(name, p.version), 0o644)
}

func packageFiles(name string) map[string]string {
	return map[string]string{
		"/usr/bin/" + name:                          "\x7fELF " + name + "\n",
		"/usr/share/doc/" + name + "/copyright":     "Made up for a fake guest.\n",
		"/usr/share/doc/" + name + "/changelog.txt": name + "\n",
	}
}

func stanza(name, version string) string {
	return fmt.Sprintf("Package: %s\nStatus: install ok installed\nPriority: optional\nSection: utils\nMaintainer: Nobody <nobody@localhost>\nArchitecture: amd64\nVersion: %s\nDescription: %s\n\n", name, version, name)
}

func (g *system) uninstall(name string) error {
	if !g.has(name) {
		return nil
	}
	for f := range packageFiles(name) {
		if err := g.disk.remove(f, false, 0); err != nil {
			return err
		}
	}
	if err := g.disk.remove("/var/lib/dpkg/info/"+name+".list", false, 0); err != nil {
		return err
	}
	status, err := g.disk.read(statusFile, 0)
	if err != nil {
		return err
	}
	return g.put(statusFile, strings.Replace(string(status), stanza(name, pool[name].version), "", 1), 0o644)
}

// has reports whether a package is installed; "" always is.
func (g *system) has(name string) bool {
	if name == "" {
		return true
	}
	status, _ := g.disk.read(statusFile, 0)
	return strings.Contains("\n"+string(status), "\nPackage: "+name+"\n")
}

// dpkg lists what is installed (-l), or asks for some of it (-s, -W).
func dpkg(c *call) int {
	_, rest := c.flags()
	status, err := c.g.disk.read(statusFile, c.user.uid)
	if err != nil {
		return c.fail(err)
	}
	found := 0
	for s := range strings.SplitSeq(string(status), "\n\n") {
		name, version := field(s, "Package"), field(s, "Version")
		if name != "" && (len(rest) == 0 || slices.Contains(rest, name)) {
			found++
			fmt.Fprintf(c.stdout, "ii  %s %s amd64 %s\n", name, version, name)
		}
	}
	if found < len(rest) {
		return c.errorf("no packages found matching %s", strings.Join(rest, " "))
	}
	return 0
}

// field returns one field of a control stanza.
func field(stanza, name string) string {
	for line := range strings.Lines(stanza) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// put makes or replaces a file of root's and the folders above it.
func (g *system) put(p, data string, perm fs.FileMode) error {
	if err := g.disk.mkdirAll(dirOf(p), 0o755, 0); err != nil {
		return err
	}
	return g.disk.write(p, []byte(data), perm, 0)
}
