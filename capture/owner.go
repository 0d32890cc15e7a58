package capture

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"assay"
)

// A subject that is root can write any list of files that dpkg keeps. So a list
// explains a change only as far as something else speaks for it: that the path is
// one where packages have files, that no other package owned it, and that what
// lies there has the digest that the package says it brought.

// notPackaged are the places where no package has more than folders.
var notPackaged = []string{"/home", "/root", "/tmp", "/var/tmp", "/dev", "/run", "/proc", "/sys", "/usr/local", "/srv", "/mnt", "/media", "/var/lib/dpkg", "/var/cache/apt"}

// unpackaged reports whether no package has a file at p.
func unpackaged(p string) bool {
	return slices.ContainsFunc(notPackaged, func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
}

// A claim is a path in the list of a package that changed.
type claim struct {
	name          string
	system        bool   // the system's manager says so, not a language's
	before, after bool   // in which captures the list has it
	sum           string // the digest that the package says the file has
	summed        bool   // the manager writes digests down, and the host saw them
}

func (c *claim) group() string { return "package " + c.name }

// claims are what the changed packages say is theirs, and who owned it before.
type claims struct {
	of      map[string]*claim
	others  map[string]string // path → package that owned it before and did not change
	made    diversions        // in force afterwards
	ended   diversions        // in force before only
	changed map[string]bool   // keys of packages
	names   map[string]bool   // of dpkg's packages among them
	alias   map[string]string // /lib → /usr/lib
}

// A diversion has a package's file make room for another's.
type diversion struct{ from, to, name string }

// diversions are found by both of their paths.
type diversions struct{ from, to map[string]diversion }

// claimsOf collects the claims. paths are those that somebody will ask about.
func claimsOf(changed map[string]bool, paths map[string]bool, before, after Capture) *claims {
	c := &claims{of: map[string]*claim{}, others: map[string]string{}, changed: changed, names: namesOf(changed), alias: aliases(after)}
	settings := conffilesOf(after)
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		summed := after.Witness == WitnessHost && strings.HasPrefix(key, "dpkg:")
		c.add(key, before, func(cl *claim) { cl.before = true })
		c.add(key, after, func(cl *claim) { cl.after, cl.summed = true, cl.summed || summed })
		c.addSums(key, after, settings)
	}
	for _, r := range before.ofKind(Package) {
		if len(paths) == 0 || changed[r.Key] || !systemManagers[r.Attrs["manager"]] {
			continue
		}
		for p := range c.listed(before, &r) {
			if paths[p] {
				c.others[p] = r.Attrs["name"]
			}
		}
	}
	c.made = c.diversions(after, diversions{})
	c.ended = c.diversions(before, c.made)
	return c
}

// ofKind returns the records of one kind.
func (c Capture) ofKind(kind string) []Record {
	from, _ := slices.BinarySearchFunc(c.Records, Record{Kind: kind}, compareKeys)
	to := from
	for to < len(c.Records) && c.Records[to].Kind == kind {
		to++
	}
	return c.Records[from:to]
}

// listed gives each path of a package's list, as keys of records have them.
func (c *claims) listed(in Capture, r *Record) func(func(string) bool) {
	return func(yield func(string) bool) {
		for l := range strings.Lines(ownedBy(in, r)) {
			p := c.real(strings.TrimSuffix(l, "\n"))
			if p != "" && p != "/" && p != "/." && !yield(Escape(p)) {
				return
			}
		}
	}
}

// systemManagers are the managers whose packages have files all over the system.
var systemManagers = map[string]bool{"dpkg": true, "rpm": true, "apk": true}

// inRealm reports whether a path is where the manager of a language puts files of
// such a package: any user can write what such a manager keeps.
func inRealm(r *Record, p string) bool {
	below := func(dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(p, dir+"/") })
	}
	at := r.Attrs["path"]
	switch r.Attrs["manager"] {
	case "pip":
		site := path.Dir(at)
		prefix, _, _ := strings.Cut(site, "/lib/python")
		prefix, _, _ = strings.Cut(prefix, "/lib64/python")
		return at != "" && below(site, prefix+"/bin", prefix+"/share", prefix+"/include")
	case "gem":
		return at != "" && below(path.Dir(path.Dir(at)))
	case "cargo":
		root := path.Base(path.Dir(path.Dir(p)))
		return path.Base(path.Dir(p)) == "bin" && (root == ".cargo" || root == "cargo")
	}
	return at != "" && (p == at || below(at))
}

func (c *claims) add(key string, in Capture, note func(*claim)) {
	r := in.find(Package, key)
	if r == nil {
		return
	}
	system := systemManagers[r.Attrs["manager"]]
	for p := range c.listed(in, r) {
		if !system && !inRealm(r, p) {
			continue
		}
		cl := c.of[p]
		if cl == nil {
			cl = &claim{name: r.Attrs["name"], system: system}
			c.of[p] = cl
		}
		cl.system = cl.system && system
		note(cl)
	}
}

// addSums adds the digests that dpkg wrote down of a package.
func (c *claims) addSums(key string, after Capture, settings map[string][]string) {
	r := after.find(Package, key)
	if r == nil || r.Attrs["manager"] != "dpkg" {
		return
	}
	if f := infoFile(after, r, ".md5sums"); f != nil {
		for l := range strings.Lines(f.Attrs["sums"]) {
			sum, p, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "  ")
			c.sum("/"+p, sum)
		}
	}
	for _, l := range settings[r.Attrs["name"]] {
		p, sum, _ := strings.Cut(l, "\x00")
		c.sum(p, sum)
	}
}

func (c *claims) sum(p, sum string) {
	if cl := c.of[Escape(c.real(p))]; cl != nil {
		cl.sum = sum
	}
}

// conffilesOf returns each package's configuration files, as path, a zero byte and digest.
func conffilesOf(after Capture) map[string][]string {
	found := map[string][]string{}
	f := after.find(File, dpkgStatus)
	if f == nil {
		return found
	}
	for l := range strings.Lines(f.Attrs["sums"]) {
		sum, rest, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "  ")
		name, p, _ := strings.Cut(rest, " ")
		found[name] = append(found[name], p+"\x00"+sum)
	}
	return found
}

// infoFile returns what dpkg keeps of a package under a suffix, or nil.
func infoFile(in Capture, r *Record, suffix string) *Record {
	for _, name := range []string{r.Attrs["name"], r.Attrs["name"] + ":" + r.Attrs["arch"]} {
		if f := in.find(File, dpkgInfo+name+suffix); f != nil {
			return f
		}
	}
	return nil
}

// diversions reads dpkg's table of diversions in favour of changed packages:
// three lines each, the path, where its file goes, and the package. Those of but
// are left out.
func (c *claims) diversions(in Capture, but diversions) diversions {
	found := diversions{map[string]diversion{}, map[string]diversion{}}
	f := in.find(File, dpkgDiversions)
	if f == nil {
		return found
	}
	for entry := range slices.Chunk(strings.Split(strings.TrimSuffix(f.Attrs["sums"], "\n"), "\n"), 3) {
		if len(entry) < 3 || !c.named(entry[2]) {
			continue
		}
		d := diversion{Escape(c.real(entry[0])), Escape(c.real(entry[1])), entry[2]}
		if _, still := but.from[d.from]; !still {
			found.from[d.from], found.to[d.to] = d, d
		}
	}
	return found
}

// named reports whether a package of dpkg's changed.
func (c *claims) named(name string) bool {
	name, _, _ = strings.Cut(name, ":")
	return c.names[name]
}

// namesOf returns the names in keys of dpkg's packages: "dpkg:libc6:i386".
func namesOf(keys map[string]bool) map[string]bool {
	names := map[string]bool{}
	for key := range keys {
		if rest, ok := strings.CutPrefix(key, "dpkg:"); ok {
			name, _, _ := strings.Cut(rest, ":")
			names[name] = true
		}
	}
	return names
}

// real rewrites a path whose first folder is an alias.
func (c *claims) real(p string) string {
	for old, now := range c.alias {
		if p == old {
			return now
		}
		if rest, ok := strings.CutPrefix(p, old+"/"); ok {
			return now + "/" + rest
		}
	}
	return p
}

// explain returns the package that explains a change of a file, or why one that
// claims it does not.
func (c *claims) explain(ch assay.Change, before Capture) (group, forged string) {
	if name := c.movedBy(ch, before); name != "" {
		return "package " + name, ""
	}
	cl := c.of[ch.Key]
	switch {
	case cl == nil:
		return "", ""
	case typeOf(ch) == "dir":
		return cl.group(), ""
	case cl.system && unpackaged(ch.Key):
		return "", "listed by " + cl.group() + ", where no package has files"
	case c.others[ch.Key] != "" && c.made.from[ch.Key].name != cl.name:
		return "", "listed by " + cl.group() + ", but it belongs to " + c.others[ch.Key] + ", which did not change"
	case ch.Op == assay.Removed && cl.before:
		return cl.group(), ""
	case !cl.after:
		return "", ""
	}
	why := cl.doubt(ch)
	switch {
	case why == "":
		return cl.group(), ""
	case cl.sum != "" && strings.HasPrefix(ch.Key, "/etc/"):
		return "", "" // to edit settings is no forgery
	}
	return "", why
}

// doubt says what speaks against a file being what its package brought.
func (c *claim) doubt(ch assay.Change) string {
	now, kind := ch.After["md5"], typeOf(ch)
	switch {
	case !c.summed, kind != "file" && c.sum == "":
		return "" // links have no digest
	case c.sum == "":
		return "listed by " + c.group() + ", but without a digest"
	case ch.After["unread"] != "":
		return "listed by " + c.group() + ", but not read: " + ch.After["unread"]
	case kind != "file":
		return "a " + kind + ", where " + c.group() + " brought a file"
	case now != "" && now != c.sum:
		return "not what " + c.group() + " brought: md5 " + now + ", want " + c.sum
	}
	return ""
}

// movedBy returns the package whose diversion moved a file: aside, or back again.
func (c *claims) movedBy(ch assay.Change, before Capture) string {
	if d := c.made.to[ch.Key]; d.name != "" && becomes(ch, before.find(File, d.from)) {
		return d.name
	}
	if d := c.ended.from[ch.Key]; d.name != "" && becomes(ch, before.find(File, d.to)) {
		return d.name
	}
	if ch.Op == assay.Removed {
		return c.ended.to[ch.Key].name
	}
	return ""
}

// becomes reports whether a file is now what another one was.
func becomes(ch assay.Change, was *Record) bool {
	return was != nil && ch.After != nil && !slices.ContainsFunc([]string{"type", "mode", "uid", "sha256", "target"}, func(name string) bool { return ch.After[name] != was.Attrs[name] })
}

func typeOf(ch assay.Change) string {
	return cmp.Or(ch.After["type"], ch.Before["type"], "file")
}

// still returns the package that owns a file that did not change.
func (c *claims) still(p string) string {
	if cl := c.of[p]; cl != nil && cl.before && c.others[p] == "" {
		return cl.group()
	}
	return ""
}

// infoSuffixes are what dpkg keeps of each package.
var infoSuffixes = []string{"list", "md5sums", "sha256sums", "conffiles", "preinst", "postinst", "prerm", "postrm", "config", "templates", "triggers", "shlibs", "symbols"}

// infoName reports whether dpkg has such a name in its folder of packages.
func infoName(p string) bool {
	base := path.Base(p)
	dot := strings.LastIndexByte(base, '.')
	return base == "info" || base == "format" || dot > 0 && slices.Contains(infoSuffixes, base[dot+1:])
}

// keptByDpkg reports whether a change of dpkg's folder of packages is one that
// comes with the change of a package.
func (c *claims) keptByDpkg(ch assay.Change, before, after Capture) bool {
	base := path.Base(ch.Key)
	stem, suffix := strings.TrimSuffix(base, path.Ext(base)), path.Ext(base)
	if !infoName(ch.Key) || suffix == "" {
		return suffix == ""
	}
	return c.named(stem) || suffix == ".list" && c.onlyGaveUp(ch.Key, before, after)
}

// onlyGaveUp reports whether a list lost nothing but paths that a changed package
// says it brought instead, which is what dpkg does when one package replaces
// files of another.
func (c *claims) onlyGaveUp(key string, before, after Capture) bool {
	b, a := before.find(File, key), after.find(File, key)
	if b == nil || a == nil {
		return false
	}
	lost := map[string]bool{}
	for l := range strings.Lines(b.Attrs["text"]) {
		lost[l] = true
	}
	for l := range strings.Lines(a.Attrs["text"]) {
		if !lost[l] {
			return false
		}
		delete(lost, l)
	}
	return !slices.ContainsFunc(slices.Collect(maps.Keys(lost)), func(l string) bool {
		cl := c.of[Escape(c.real(strings.TrimSuffix(l, "\n")))]
		return cl == nil || !cl.after
	})
}
