package capture

import (
	"path"
	"slices"
	"sort"
	"strings"

	"assay"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	dpkgInfo   = "/var/lib/dpkg/info/"
	managerFor = "package manager"
	treeSize   = 20 // a new folder with more files than that is one tree
)

// bookkeeping is what package managers, and the triggers that they run, write
// beside the files of packages. It is only theirs while some package changed.
var bookkeeping = map[string][]string{
	"dpkg": {
		"/var/lib/dpkg/**", "/var/lib/apt/**", "/var/cache/apt/**", "/var/log/apt/**", "/var/log/dpkg.log", "/var/log/alternatives.log",
		"/etc/alternatives/*", "/var/cache/debconf/*", "/var/lib/ucf/*", "/var/lib/systemd/deb-systemd-*/**", "/var/lib/pam/*",
	},
	"rpm": {
		"/var/lib/rpm/**", "/usr/lib/sysimage/rpm/**", "/usr/lib/sysimage/libdnf5/**", "/var/lib/dnf/**", "/var/cache/dnf/**", "/var/cache/libdnf5/**",
		"/var/cache/yum/**", "/var/log/dnf*.log", "/var/log/yum.log", "/var/log/hawkey.log", "/etc/alternatives/*",
	},
	"apk": {"/lib/apk/db/**", "/etc/apk/world", "/var/cache/apk/**", "/var/log/apk.log"},
}

// triggers are rebuilt by every package manager.
var triggers = []string{
	"/etc/ld.so.cache", "/var/cache/ldconfig/*", "/var/cache/man/**", "/usr/share/info/dir", "/usr/share/mime/**", "/usr/share/applications/mimeinfo.cache",
	"/usr/share/glib-2.0/schemas/gschemas.compiled", "/usr/lib/locale/locale-archive", "/var/lib/systemd/catalog/database",
	"/usr/share/icons/**/icon-theme.cache", "/var/cache/fontconfig/*",
}

// group sets Group on the changes that are part of a larger one: files of a
// package that came, went or changed; what its manager wrote; a large new tree.
func group(changes []assay.Change, before, after Capture) {
	g := grouper{owned: map[string]string{}, alias: aliases(after)}
	managers := map[string]bool{}
	for _, c := range changes {
		if c.Kind != Package {
			continue
		}
		managers[strings.SplitN(c.Key, ":", 2)[0]] = true
		g.own(c, before)
		g.own(c, after)
	}
	g.globs = theirs(managers)
	for i := range changes {
		changes[i].Group = g.of(changes[i])
	}
	groupTrees(changes)
}

// theirs returns the globs of the managers' bookkeeping.
func theirs(managers map[string]bool) []string {
	var globs []string
	for m := range managers {
		globs = append(globs, bookkeeping[m]...)
	}
	if len(globs) > 0 {
		globs = append(globs, triggers...)
	}
	return globs
}

// grouper knows what the changed packages own.
type grouper struct {
	owned map[string]string // path → group
	dirs  []ownedDir        // of packages that are a folder
	alias map[string]string // /lib → /usr/lib
	globs []string
}

type ownedDir struct{ prefix, group string }

// aliases returns the folders that a merged /usr made links: packages may still
// list their files by the old names.
func aliases(c Capture) map[string]string {
	found := map[string]string{}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if r := c.find(File, d); r != nil && r.Attrs["type"] == "link" {
			found[d] = path.Join("/", r.Attrs["target"])
		}
	}
	return found
}

// find returns the record of a kind and key, or nil.
func (c Capture) find(kind, key string) *Record {
	want := Record{Kind: kind, Key: key}
	i, ok := slices.BinarySearchFunc(c.Records, want, compareKeys)
	if !ok {
		return nil
	}
	return &c.Records[i]
}

// own notes what the changed package owned in one capture.
func (g *grouper) own(c assay.Change, in Capture) {
	r := in.find(Package, c.Key)
	if r == nil {
		return
	}
	name := "package " + r.Attrs["name"]
	for p := range strings.Lines(ownedBy(in, r)) {
		if p = g.real(strings.TrimSuffix(p, "\n")); p != "" && p != "/" && p != "/." {
			g.owned[Escape(p)] = name
		}
	}
	if p := r.Attrs["path"]; p != "" {
		g.owned[p] = name
		g.dirs = append(g.dirs, ownedDir{p + "/", name})
	}
}

// ownedBy returns a package's list of files, one a line: what the collector
// found, or for dpkg the text of its list, which is a file like any other.
func ownedBy(in Capture, r *Record) string {
	if r.Attrs["manager"] != "dpkg" {
		return r.Attrs["files"]
	}
	for _, name := range []string{r.Attrs["name"], r.Attrs["name"] + ":" + r.Attrs["arch"]} {
		if l := in.find(File, dpkgInfo+name+".list"); l != nil {
			return l.Attrs["text"]
		}
	}
	return ""
}

// real rewrites a path whose first folder is an alias.
func (g *grouper) real(p string) string {
	for old, now := range g.alias {
		if p == old {
			return now
		}
		if rest, ok := strings.CutPrefix(p, old+"/"); ok {
			return now + "/" + rest
		}
	}
	return p
}

// of returns the group of one change: empty for none.
func (g *grouper) of(c assay.Change) string {
	if c.Kind == Package {
		return ""
	}
	now := c.After
	if now == nil {
		now = c.Before
	}
	paths := []string{now["path"], now["exe"], now["file"]}
	if c.Kind == File || strings.HasPrefix(c.Key, "/") {
		paths = []string{c.Key, compiledFrom(c.Key), linkTarget(c.Key, now)}
	}
	for _, p := range paths {
		if name := g.owner(p); name != "" {
			return name
		}
	}
	if c.Kind == File && g.managers(c.Key, now) {
		return managerFor
	}
	return ""
}

func (g *grouper) owner(p string) string {
	if p == "" {
		return ""
	}
	p = g.real(p)
	if name := g.owned[p]; name != "" {
		return name
	}
	for _, d := range g.dirs {
		if strings.HasPrefix(p, d.prefix) {
			return d.group
		}
	}
	return ""
}

// managers reports whether a file is the managers' bookkeeping, or a link into it.
func (g *grouper) managers(p string, a map[string]string) bool {
	return slices.ContainsFunc(g.globs, func(glob string) bool {
		return doublestar.MatchUnvalidated(glob, p) || a["type"] == "link" && doublestar.MatchUnvalidated(glob, a["target"])
	})
}

// compiledFrom returns the source of a Python byte-code file, and the folder of a
// folder of such; else "".
func compiledFrom(p string) string {
	dir, base := path.Split(p)
	if base == "__pycache__" {
		return strings.TrimSuffix(dir, "/")
	}
	if path.Base(dir) != "__pycache__" {
		return ""
	}
	stem, _, _ := strings.Cut(base, ".")
	return path.Join(path.Dir(path.Clean(dir)), stem+".py")
}

// linkTarget returns where a link leads, as a path.
func linkTarget(p string, a map[string]string) string {
	t := a["target"]
	if a["type"] != "link" || t == "" {
		return ""
	}
	if path.IsAbs(t) {
		return path.Clean(t)
	}
	return path.Join(path.Dir(p), t)
}

// groupTrees gives the files of a large new folder one group. Changes are sorted
// by key, but a folder's files need not follow it directly: "/a", "/a-b", "/a/b".
func groupTrees(changes []assay.Change) {
	for top, members := range newTrees(changes) {
		files := 0
		for _, i := range members {
			if changes[i].After["type"] != "dir" {
				files++
			}
		}
		if files <= treeSize {
			continue
		}
		for _, i := range members {
			changes[i].Group = "tree " + top
		}
	}
}

// newTrees returns, for each new folder in a folder that is not new, the changes
// in it that belong to no group yet, the folder's own included.
func newTrees(changes []assay.Change) map[string][]int {
	made := map[string]bool{}
	var members []int
	for i, c := range changes {
		if c.Kind != File || c.Op != assay.Added || c.Group != "" {
			continue
		}
		members = append(members, i)
		if c.After["type"] == "dir" {
			made[c.Key] = true
		}
	}
	trees := map[string][]int{}
	for _, i := range members {
		if top := topmost(made, changes[i].Key); top != "" {
			trees[top] = append(trees[top], i)
		}
	}
	for _, m := range trees {
		sort.Ints(m)
	}
	return trees
}

// topmost returns the highest of the new folders that p is or lies in.
func topmost(made map[string]bool, p string) string {
	top := ""
	for ; p != "/" && p != "."; p = path.Dir(p) {
		if made[p] {
			top = p
		}
	}
	return top
}
