package capture

import (
	"slices"
	"strings"
	"testing"

	"assay"
)

const otherSum, jqSum, confSum = "0123456789abcdef0123456789abcdef", "11111111111111111111111111111111", "22222222222222222222222222222222"

// beforeJq is a host's capture of a machine that has bash, and a crontab that no
// package knows.
func beforeJq(more ...Record) Capture {
	c := captureOf(append(slices.Concat(dpkgPackage("bash", "5", "/.", "/bin/bash", "/usr/share/doc/bash/copyright"), []Record{
		file("/bin/bash"), file("/usr/share/doc/bash/copyright"), file(dpkgInfo + "bash.postinst"), file(dpkgStatus), file("/usr/bin/stray"),
	}), more...)...)
	c.Witness = WitnessHost
	return c
}

// afterJq is a later one, when jq was installed, with what else happened. A record
// replaces the one of the same key.
func afterJq(list string, more ...Record) Capture {
	records := slices.Concat(beforeJq().Records, dpkgPackage("jq", "1", append([]string{"/.", "/usr/bin/jq", "/etc/jq.conf", "/usr/share/man/jq.1"}, strings.Fields(list)...)...), []Record{
		file("/usr/bin/jq", "md5", jqSum), file("/etc/jq.conf", "md5", confSum), file("/usr/share/man/jq.1", "type", "link", "target", "gojq.1"),
		file(dpkgInfo+"jq.md5sums", "sums", jqSum+"  usr/bin/jq\n"+otherSum+"  usr/lib/odd\n"+otherSum+"  usr/lib/huge\n"+jqSum+"  bin/bash\n"),
		file(dpkgStatus, "sha256", "33", "sums", confSum+"  jq /etc/jq.conf\n"+confSum+"  bash /etc/profile.d/evil.sh\n"),
	})
	for _, r := range more {
		records = slices.DeleteFunc(records, func(o Record) bool { return o.Kind == r.Kind && o.Key == r.Key })
	}
	seen := map[string]int{}
	var once []Record
	for _, r := range append(records, more...) {
		if i, dup := seen[r.Kind+r.Key]; dup {
			once[i] = r
			continue
		}
		seen[r.Kind+r.Key] = len(once)
		once = append(once, r)
	}
	c := captureOf(once...)
	c.Witness = WitnessHost
	return c
}

// changeOf is the change of one record.
func changeOf(t *testing.T, kind, key string, before, after Capture) assay.Change {
	t.Helper()
	changes, _, err := Diff(before, after, DiffOptions{})
	check(t, err)
	i := slices.IndexFunc(changes, func(c assay.Change) bool { return c.Kind == kind && c.Key == key })
	if i < 0 {
		t.Fatalf("no change of %s %s in %+v", kind, key, changes)
	}
	return changes[i]
}

// What a package brought is its own; what its list claims beside that is not.
func TestForgedList(t *testing.T) {
	const claimed = " /root/.ssh/authorized_keys /usr/local/bin/x /etc/profile.d/evil.sh /tmp/left /usr/lib/odd /bin/bash /usr/bin/stray /usr/lib/huge"
	after := afterJq(claimed,
		file("/root/.ssh/authorized_keys"), file("/usr/local/bin/x"), file("/etc/profile.d/evil.sh", "md5", confSum), file("/tmp/left"), file("/usr/lib/odd", "md5", jqSum), file("/usr/lib/huge", "unread", "too large"),
		file("/bin/bash", "sha256", "99", "md5", jqSum), file("/usr/bin/stray", "sha256", "99", "md5", jqSum), folderOf("/usr/local/bin/folder"),
		file(dpkgInfo+"bash.postinst", "sha256", "99"), file("/var/lib/dpkg/evil.sh"), file("/var/cache/apt/payload"), file(dpkgInfo+"jq.payload"),
		file("/var/lib/dpkg/available", "mode", "4755"),
		Record{Autostart, "/etc/profile.d/evil.sh", attrs("point", "profile")}, Record{Autostart, "/etc/rc2.d/S01jq", attrs("point", "rc")},
		file("/etc/rc2.d/S01jq", "type", "link", "target", "../jq.conf"), Record{Process, "root: stray", attrs("exe", "/usr/bin/stray")},
		Record{Process, "root: copy", attrs("exe", "/usr/share/doc/bash/copyright")},
	)
	for _, want := range []struct{ kind, key, group, forged string }{
		{File, "/usr/bin/jq", "package jq", ""},
		{File, "/etc/jq.conf", "package jq", ""},
		{File, "/usr/share/man/jq.1", "package jq", ""},
		{File, dpkgInfo + "jq.md5sums", managerFor, ""},
		{File, dpkgStatus, managerFor, ""},
		{File, "/root/.ssh/authorized_keys", "", "where no package has files"},
		{File, "/usr/local/bin/x", "", "where no package has files"},
		{File, "/tmp/left", "", "where no package has files"},
		{File, "/etc/profile.d/evil.sh", "", "without a digest"},
		{File, "/usr/lib/odd", "", "not what package jq brought: md5 " + jqSum + ", want " + otherSum},
		{File, "/bin/bash", "", "belongs to bash"},
		{File, "/usr/bin/stray", "", "without a digest"},
		{File, dpkgInfo + "bash.postinst", "", "did not change"},
		{File, dpkgInfo + "jq.payload", "", "not a name"},
		{File, "/var/lib/dpkg/evil.sh", "", "not a name"},
		{File, "/var/cache/apt/payload", "", "not a name"},
		{File, "/var/lib/dpkg/available", "", ""},
		{File, "/usr/lib/huge", "", "not read"},
		{Autostart, "/etc/profile.d/evil.sh", "", ""},
		{Autostart, "/etc/rc2.d/S01jq", "package jq", ""},
		{Process, "root: stray", "", ""},
		{Process, "root: copy", "", ""},
	} {
		c := changeOf(t, want.kind, want.key, beforeJq(), after)
		if c.Group != want.group || !strings.Contains(c.After["forged"], want.forged) || (want.forged == "") != (c.After["forged"] == "") {
			t.Errorf("%s %s: got group %q, forged %q, want %q, %q", want.kind, want.key, c.Group, c.After["forged"], want.group, want.forged)
		}
		if c.After["md5"] != "" || c.After["sums"] != "" {
			t.Errorf("%s: a change carries %v", want.key, c.After)
		}
	}
}

// Settings may be edited: that is a change of the subject's, and no forgery. A
// program that was replaced is one.
func TestReplacedBesideAnInstall(t *testing.T) {
	after := afterJq("", file("/usr/bin/jq", "md5", otherSum), file("/etc/jq.conf", "md5", otherSum))
	if c := changeOf(t, File, "/etc/jq.conf", beforeJq(), after); c.Group != "" || c.After["forged"] != "" {
		t.Errorf("an edited configuration file: group %q, forged %q", c.Group, c.After["forged"])
	}
	if c := changeOf(t, File, "/usr/bin/jq", beforeJq(), after); c.Group != "" || c.After["forged"] == "" {
		t.Errorf("a replaced program: group %q, forged %q", c.Group, c.After["forged"])
	}
	after = afterJq("", file("/usr/bin/jq"), file(dpkgInfo+"jq.md5sums"), file(dpkgStatus, "sha256", "33"))
	after.Witness = WitnessGuest // nobody saw a digest
	if c := changeOf(t, File, "/usr/bin/jq", beforeJq(), after); c.Group != "package jq" {
		t.Errorf("without digests: group %q", c.Group)
	}
}

// A package may divert another's file, and replace one for good.
func TestDiversionsAndReplacements(t *testing.T) {
	before := beforeJq()
	bash := file("/bin/bash", "sha256", "99", "md5", jqSum)
	diverted := afterJq("/bin/bash", bash, file("/bin/bash.distrib", "sha256", "11"), file(dpkgDiversions, "sums", "/bin/bash\n/bin/bash.distrib\njq\n"))
	for _, p := range []string{"/bin/bash", "/bin/bash.distrib"} {
		if c := changeOf(t, File, p, before, diverted); c.Group != "package jq" {
			t.Errorf("diverted: %s: group %q, forged %q", p, c.Group, c.After["forged"])
		}
	}
	for _, p := range []string{"/bin/bash", "/bin/bash.distrib"} {
		if c := changeOf(t, File, p, diverted, before); c.Group != "package jq" {
			t.Errorf("no longer diverted: %s: group %q, forged %q", p, c.Group, c.After["forged"])
		}
	}
	other := afterJq("/bin/bash", bash, file("/bin/bash.distrib", "sha256", "77"), file(dpkgDiversions, "sums", "/bin/bash\n/bin/bash.distrib\njq\n"))
	if c := changeOf(t, File, "/bin/bash.distrib", before, other); c.Group != "" {
		t.Errorf("not what made room: group %q", c.Group)
	}
	list := dpkgInfo + "bash.list"
	gave := afterJq("/bin/bash", bash, file(list, "sha256", "12", "text", "/.\n/usr/share/doc/bash/copyright\n"))
	if c := changeOf(t, File, list, before, gave); c.Group != managerFor {
		t.Errorf("a list that gave a file up: group %q, forged %q", c.Group, c.After["forged"])
	}
	took := afterJq("", file(list, "sha256", "12", "text", "/.\n/bin/bash\n/usr/share/doc/bash/copyright\n/tmp/x\n"))
	if c := changeOf(t, File, list, before, took); c.After["forged"] == "" {
		t.Errorf("a list that took a file: group %q", c.Group)
	}
}

// An upgrade changes what the package owned, a removal takes it away.
func TestUpgradeAndRemoval(t *testing.T) {
	told := Record{Package, "pip:jq", attrs("manager", "pip", "name", "jq", "version", "1", "path", "/usr/lib/python3/jq.dist-info", "files", "/usr/bin/jq\n")}
	installed := afterJq("", told) // Python tells of the same package, whose version is what it was
	upgraded := afterJq("", told, dpkgPackage("jq", "2", "/usr/bin/jq", "/etc/jq.conf")[0], file("/usr/bin/jq", "sha256", "55", "md5", jqSum))
	if c := changeOf(t, File, "/usr/bin/jq", installed, upgraded); c.Group != "package jq" {
		t.Errorf("upgraded: group %q, forged %q", c.Group, c.After["forged"])
	}
	if c := changeOf(t, File, "/usr/bin/jq", installed, beforeJq()); c.Group != "package jq" {
		t.Errorf("removed: group %q", c.Group)
	}
	gone := afterJq("/usr/bin/stray")
	gone.Records = slices.DeleteFunc(slices.Clone(gone.Records), func(r Record) bool { return r.Key == "/usr/bin/stray" })
	if c := changeOf(t, File, "/usr/bin/stray", beforeJq(), gone); c.Group != "" {
		t.Errorf("removed, but never the package's: group %q", c.Group)
	}
}

// A link elsewhere than before does not come with its new target.
func TestLinksFollowTheirTargetsOnce(t *testing.T) {
	sh := func(target string) Record { return file("/etc/sh", "type", "link", "target", target) }
	if c := changeOf(t, File, "/etc/sh", beforeJq(sh("/bin/bash")), afterJq("", sh("/usr/bin/jq"))); c.Group != "" {
		t.Errorf("turned: group %q", c.Group)
	}
	if c := changeOf(t, File, "/etc/sh", beforeJq(), afterJq("", sh("/usr/bin/jq"))); c.Group != "package jq" {
		t.Errorf("new: group %q", c.Group)
	}
	if c := changeOf(t, File, "/root/sh", beforeJq(), afterJq("", file("/root/sh", "type", "link", "target", "/usr/bin/jq"))); c.Group != "" {
		t.Errorf("at root's: group %q", c.Group)
	}
}

// A language's manager keeps what any user can write: it owns what lies in its own
// folders.
func TestLanguagesOwnTheirFolders(t *testing.T) {
	const site = "/home/tester/.local/lib/python3.11/site-packages"
	list := []string{site + "/foo/a.py", "/home/tester/.local/bin/foo", "/home/tester/.ssh/authorized_keys", "/etc/profile.d/x.sh", "/usr/bin/stray"}
	foo := Record{Package, "pip:foo@tester", attrs("manager", "pip", "name", "foo", "version", "1", "user", "tester", "path", site+"/foo-1.dist-info", "files", strings.Join(list, "\n")+"\n")}
	tool := Record{Package, "npm:tool", attrs("manager", "npm", "name", "tool", "version", "1", "path", "/usr/local/lib/node_modules/tool")}
	rg := Record{Package, "cargo:rg@tester", attrs("manager", "cargo", "name", "rg", "version", "1", "files", "/home/tester/.cargo/bin/rg\n/home/tester/.bashrc\n")}
	records := append(slices.Clone(beforeJq().Records), foo, tool, rg, file(site+"/foo-1.dist-info/RECORD"), file(site+"/foo/__pycache__/a.cpython-311.pyc"),
		file("/usr/local/bin/tool", "type", "link", "target", "../lib/node_modules/tool/cli.js"), file("/usr/local/lib/node_modules/tool/cli.js"), file("/home/tester/.cargo/bin/rg"), file("/home/tester/.bashrc"))
	for _, p := range list[:4] {
		records = append(records, file(p))
	}
	after := captureOf(records...)
	after.Witness = WitnessHost
	for key, want := range map[string]string{
		list[0]: "package foo", list[1]: "package foo", list[2]: "", list[3]: "", site + "/foo/__pycache__/a.cpython-311.pyc": "package foo", site + "/foo-1.dist-info/RECORD": "package foo",
		"/usr/local/bin/tool": "package tool", "/usr/local/lib/node_modules/tool/cli.js": "package tool", "/home/tester/.cargo/bin/rg": "package rg", "/home/tester/.bashrc": "",
	} {
		if c := changeOf(t, File, key, beforeJq(), after); c.Group != want || c.After["forged"] != "" {
			t.Errorf("%s: got group %q, forged %q, want %q", key, c.Group, c.After["forged"], want)
		}
	}
}

// A package in dpkg's status that dpkg keeps nothing of is none.
func TestPackageWithoutAList(t *testing.T) {
	fake := Record{Package, "dpkg:fake", attrs("manager", "dpkg", "name", "fake", "version", "1", "arch", "amd64")}
	info := folderOf("/var/lib/dpkg/info")
	if c := changeOf(t, Package, "dpkg:fake", beforeJq(info), afterJq("", info, fake)); c.After["forged"] == "" {
		t.Errorf("a package without a list: got %v", c.After)
	}
	if c := changeOf(t, Package, "dpkg:jq", beforeJq(info), afterJq("", info, fake)); c.After["forged"] != "" {
		t.Errorf("a real one: got %v", c.After)
	}
}

func TestConffiles(t *testing.T) {
	got := conffiles("Package: jq\nConffiles:\n /etc/a 1\n /etc/b 2 obsolete\nDescription: x\n /etc/no 3\n\nPackage: z\nStatus: x\n /etc/no 4\n")
	if want := "1  jq /etc/a\n2  jq /etc/b\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A lock that only one of two captures could see is no change.
func TestLocksOfOneWitness(t *testing.T) {
	one := func(witness string, pairs ...string) Capture {
		c := captureOf(file("/etc/passwd", pairs...))
		c.Witness = witness
		return c
	}
	if c := changeOf(t, File, "/etc/passwd", one(WitnessHost), one(WitnessHost, locked, "immutable")); !slices.Equal(c.Fields, []string{locked}) {
		t.Errorf("got %v", c.Fields)
	}
	if changes, _, _ := Diff(one(WitnessGuest), one(WitnessHost, locked, "immutable"), DiffOptions{}); len(changes) > 0 {
		t.Errorf("got %+v, want nothing", changes)
	}
}
