package capture

import (
	"path"
	"slices"
	"sort"
	"strconv"
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
// beside the files of packages. It is only theirs while some package changed. In
// the folders of dpkg and apt these are all the names that they write: whoever
// looks for a place to hide finds none there.
var bookkeeping = map[string][]string{
	"dpkg": {
		"/var/log/apt/{history.log,term.log,eipp.log}{,.*}", "/var/log/{dpkg,alternatives}.log{,.*}", "/etc/alternatives/*", "/var/cache/debconf/{config,passwords,templates}.dat{,-old}",
		"/var/lib/ucf/{hashfile,registry}{,.*}", "/var/lib/ucf/cache{,/*}", "/var/lib/systemd/deb-systemd-*/**", "/var/lib/pam/*",
	},
	"rpm": {
		"/var/lib/rpm/**", "/usr/lib/sysimage/rpm/**", "/usr/lib/sysimage/libdnf5/**", "/var/lib/dnf/**", "/var/cache/dnf/**", "/var/cache/libdnf5/**",
		"/var/cache/yum/**", "/var/log/dnf*.log", "/var/log/yum.log", "/var/log/hawkey.log", "/etc/alternatives/*",
	},
	"apk": {"/lib/apk/db/**", "/etc/apk/world", "/var/cache/apk/**", "/var/log/apk.log"},
}

// foldersOfDpkg are dpkg's and apt's alone; namesOfDpkg are what they have there,
// but for what dpkg keeps of each package.
var (
	foldersOfDpkg = []string{"/var/lib/dpkg/**", "/var/lib/apt/**", "/var/cache/apt/**"}
	namesOfDpkg   = []string{
		"/var/lib/{dpkg,apt}", "/var/cache/apt",
		"/var/lib/dpkg/{status,available,diversions,statoverride}{,-old,-new}", "/var/lib/dpkg/{arch,arch-new,cmethopt,lock,lock-frontend,methlock}",
		"/var/lib/dpkg/{info,updates,parts,methods,triggers,alternatives,tmp.ci}", "/var/lib/dpkg/updates/{tmp.i,[0-9][0-9][0-9][0-9]}",
		"/var/lib/dpkg/triggers/*", "/var/lib/dpkg/alternatives/*", "/var/lib/dpkg/methods/{apt,mnt,floppy,ftp,disk,media,multicd,multi,file,dselect}{,/*}",
		"/var/lib/apt/{extended_states{,.tmp.*},cdroms.list,daily_lock,listchanges*,lists,mirrors,periodic}",
		"/var/lib/apt/lists/{lock,partial,auxfiles}", "/var/lib/apt/lists/{,partial/,auxfiles/}*_{InRelease,Release,Release.gpg,Packages,Sources,Translation-*,Contents-*,Components-*,Commands-*,Index,icons-*}{,.*}",
		"/var/lib/apt/{mirrors,periodic}/*",
		"/var/cache/apt/{archives,pkgcache.bin,srcpkgcache.bin}{,.*}", "/var/cache/apt/archives/{lock,partial}", "/var/cache/apt/archives/{,partial/}*.deb{,.FAILED}",
	}
)

// triggers are rebuilt by every package manager.
var triggers = []string{
	"/etc/ld.so.cache", "/var/cache/ldconfig/*", "/var/cache/man/**", "/usr/share/info/dir", "/usr/share/mime/**", "/usr/share/applications/mimeinfo.cache",
	"/usr/share/glib-2.0/schemas/gschemas.compiled", "/usr/lib/locale/locale-archive", "/var/lib/systemd/catalog/database",
	"/usr/share/icons/**/icon-theme.cache", "/var/cache/fontconfig/*",
}

// group sets Group on the changes that are part of a larger one: files of a
// package that came, went or changed; what its manager wrote; a large new tree. It
// sets the attribute forged on what only seems to be part of one.
func group(changes []assay.Change, before, after Capture) {
	g := &grouper{before: before, after: after, files: map[string]string{}}
	changed, managers, paths := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range changes {
		if c.Kind == Package {
			managers[strings.SplitN(c.Key, ":", 2)[0]] = true
			changed[c.Key] = true
		}
	}
	if len(changed) > 0 {
		alias := &claims{alias: aliases(after)}
		for _, c := range changes {
			for _, p := range pathsOf(c) {
				paths[alias.real(p)] = true
			}
		}
	}
	g.claims = claimsOf(changed, paths, before, after)
	g.addFolders()
	g.globs = theirs(managers)
	g.groupFiles(changes)
	for i, c := range changes {
		if c.Kind != Package && c.Kind != File {
			changes[i].Group = g.of(c)
		}
		if c.Kind == Package && c.Op == assay.Added && g.unlisted(c, before) {
			c.After["forged"] = "dpkg keeps no list of its files"
		}
		delete(changes[i].Before, "md5")
		delete(changes[i].After, "md5")
	}
	groupTrees(changes)
}

// unlisted reports whether dpkg's status tells of a package that dpkg did not
// install. Some systems have no lists at all.
func (g *grouper) unlisted(c assay.Change, before Capture) bool {
	r := g.after.find(Package, c.Key)
	return c.After["manager"] == "dpkg" && c.After["status"] == "" && infoFile(g.after, r, ".list") == nil && before.find(File, strings.TrimSuffix(dpkgInfo, "/")) != nil
}

// groupFiles groups files, those that packages own first: what speaks of a file
// follows it.
func (g *grouper) groupFiles(changes []assay.Change) {
	for i, c := range changes {
		if c.Kind != File {
			continue
		}
		name, forged := g.explain(c, g.before)
		if forged == "" && name == "" {
			forged = g.strange(c)
		}
		if forged != "" && c.After != nil {
			c.After["forged"] = forged
		}
		changes[i].Group, g.files[c.Key] = name, name
	}
	for i, c := range changes {
		if c.Kind == File && c.Group == "" && c.After["forged"] == "" {
			changes[i].Group = g.of(c)
		}
	}
	for _, c := range changes {
		if c.Kind == File {
			g.files[c.Key] = c.Group
		}
	}
}

// strange says why a file that lies where only dpkg and apt write is none of
// theirs; empty if it is.
func (g *grouper) strange(c assay.Change) string {
	switch {
	case c.After == nil, !matches(foldersOfDpkg, c.Key), matches(namesOfDpkg, c.Key):
	case path.Dir(c.Key)+"/" != dpkgInfo:
		if typeOf(c) != "dir" {
			return notTheirs
		}
	case !infoName(c.Key):
		return notTheirs
	case len(g.globs) > 0 && !g.keptByDpkg(c, g.before, g.after):
		return "kept of a package that did not change"
	}
	return ""
}

// notTheirs begins what is said of a stranger among dpkg's and apt's own files.
const notTheirs = "not a name that dpkg or apt writes here"

// theirs returns the globs of the managers' bookkeeping.
func theirs(managers map[string]bool) []string {
	var globs []string
	for m := range managers {
		globs = append(globs, bookkeeping[m]...)
	}
	if managers["dpkg"] {
		globs = append(globs, namesOfDpkg...)
	}
	if len(globs) > 0 {
		globs = append(globs, triggers...)
	}
	return globs
}

// grouper knows what the changed packages own.
type grouper struct {
	*claims
	before, after Capture
	files         map[string]string // changed file → its package, or empty
	dirs          []ownedDir        // of packages that are a folder
	globs         []string
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

// addFolders notes the changed packages that are a folder.
func (g *grouper) addFolders() {
	for key := range g.changed {
		for _, in := range []Capture{g.before, g.after} {
			if r := in.find(Package, key); r != nil && r.Attrs["path"] != "" {
				g.dirs = append(g.dirs, ownedDir{r.Attrs["path"], "package " + r.Attrs["name"]})
			}
		}
	}
}

// ownedBy returns a package's list of files, one a line: what the collector
// found, or for dpkg the text of its list, which is a file like any other.
func ownedBy(in Capture, r *Record) string {
	if r.Attrs["manager"] != "dpkg" {
		return r.Attrs["files"]
	}
	if l := infoFile(in, r, ".list"); l != nil {
		return l.Attrs["text"]
	}
	return ""
}

// pathsOf returns the files that a change speaks of.
func pathsOf(c assay.Change) []string {
	now := c.After
	if now == nil {
		now = c.Before
	}
	if c.Kind == File || strings.HasPrefix(c.Key, "/") {
		return slices.DeleteFunc([]string{c.Key, compiledFrom(c.Key), linkTarget(c, now)}, empty)
	}
	return slices.DeleteFunc([]string{now["path"], now["exe"], now["file"]}, empty)
}

func empty(s string) bool { return s == "" }

// of returns the group of one change that is no file of a package itself: empty
// for none.
func (g *grouper) of(c assay.Change) string {
	for _, p := range pathsOf(c) {
		if name, system := g.owner(g.real(p)); name != "" && (c.Kind != File || p == c.Key || !system || !unpackaged(c.Key)) {
			return name
		}
	}
	if cl := g.claims.of[path.Dir(c.Key)]; cl != nil && path.Base(c.Key) == "__pycache__" && typeOf(c) == "dir" {
		return cl.group()
	}
	if c.Kind == File && g.managers(c) {
		return managerFor
	}
	return ""
}

// owner returns the group of what speaks of a file, and whether it is one of the
// system's own packages.
func (g *grouper) owner(p string) (group string, system bool) {
	for _, d := range g.dirs {
		if p == d.prefix || strings.HasPrefix(p, d.prefix+"/") {
			return d.group, false
		}
	}
	system = g.claims.of[p] == nil || g.claims.of[p].system
	if name, changed := g.files[p]; changed {
		return name, system
	}
	return g.still(p), system
}

// managers reports whether a file is the managers' bookkeeping, or a link into it.
// Nothing that gives its rights to others is.
func (g *grouper) managers(c assay.Change) bool {
	now := c.After
	if now == nil {
		now = c.Before
	}
	if special(now) {
		return false
	}
	if len(g.globs) > 0 && path.Dir(c.Key)+"/" == dpkgInfo {
		return g.keptByDpkg(c, g.before, g.after)
	}
	return matches(g.globs, c.Key) || now["type"] == "link" && matches(g.globs, now["target"])
}

// special reports whether a file runs with the rights of its owner, its group or more.
func special(a map[string]string) bool {
	mode, _ := strconv.ParseUint(a["mode"], 8, 32)
	return a["type"] == "file" && (mode&0o6000 != 0 || a["capabilities"] != "")
}

func matches(globs []string, p string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return doublestar.MatchUnvalidated(glob, p) })
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

// linkTarget returns where a link that came or went leads, as a path. One that
// leads elsewhere than before is nothing that comes with its target.
func linkTarget(c assay.Change, a map[string]string) string {
	t := a["target"]
	if a["type"] != "link" || t == "" || c.Op == assay.Modified {
		return ""
	}
	if path.IsAbs(t) {
		return path.Clean(t)
	}
	return path.Join(path.Dir(c.Key), t)
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
