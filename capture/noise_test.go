package capture

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"assay"

	"pgregory.net/rapid"
)

// file is the change of a small text file, made as Diff makes it.
func textChange(t *testing.T, path, before, after string) assay.Change {
	t.Helper()
	made := diffOf(t, textFile(path, before), textFile(path, after))
	if len(made) != 1 {
		t.Fatalf("%s: got %d changes, want 1", path, len(made))
	}
	return made[0]
}

func textFile(path, text string) []Record {
	return []Record{{File, path, map[string]string{"type": "file", "mode": "0644", "uid": "0", "size": decimal(len(text)), "sha256": fmt.Sprintf("sum of %q", text), "text": text}}}
}

func diffOf(t *testing.T, before, after []Record) []assay.Change {
	t.Helper()
	changes, _, err := Diff(finish("", before, nil), finish("", after, nil), DiffOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// blob is the change of a file whose content is not kept.
func blob(path, mode string, size int, digest string) assay.Change {
	attrs := func(size int, digest string) map[string]string {
		return map[string]string{"type": "file", "mode": mode, "size": decimal(size), "sha256": digest}
	}
	fields := []string{"sha256"}
	if size != 4096 {
		fields = append(fields, "size")
	}
	return assay.Change{Kind: File, Key: path, Op: assay.Modified, Before: attrs(4096, "before"), After: attrs(size, digest), Fields: fields}
}

func added(kind, key string, attrs ...string) assay.Change {
	return assay.Change{Kind: kind, Key: key, Op: assay.Added, After: pairsOf(attrs)}
}

func pairsOf(words []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		m[words[i]] = words[i+1]
	}
	return m
}

// modified is the change of one attribute.
func modified(kind, key, field, before, after string) assay.Change {
	return assay.Change{Kind: kind, Key: key, Op: assay.Modified, Fields: []string{field},
		Before: map[string]string{field: before}, After: map[string]string{field: after}}
}

func placebos(seconds float64, changes ...assay.Change) []assay.Placebo {
	var all []assay.Placebo
	for _, c := range changes {
		all = append(all, assay.Placebo{Seconds: seconds, Changes: []assay.Change{c}})
	}
	return all
}

const (
	id1 = "0123456789abcdef0123456789abcdef"
	id2 = "fedcba98765432100123456789abcdef"
)

// What idle machines do is noise; what merely happens in the same place is not.
func TestNoise(t *testing.T) {
	status := "Package: a\nVersion: 1\n\nPackage: b\nVersion: 1\n"
	dpkg := textChange(t, "/etc/status", status, status+"\nPackage: c\n")
	log := func(lines ...string) assay.Change {
		return textChange(t, "/var/log/x.log", "old\n", "old\n"+strings.Join(lines, "\n")+"\n")
	}
	start := "Nov 23 16:12:01 debian-12-1 systemd[1]: Started session 4 of tester."
	resolv := func(lines string) assay.Change {
		return textChange(t, "/etc/resolv.conf", "nameserver 10.0.2.3\n", lines)
	}
	stamped := "# made 2026-11-23 16:12:01 by dhclient 812\nnameserver 10.0.2.3\n"
	long := log(start + strings.Repeat("x", 2000))
	tests := []struct {
		name  string
		seen  []assay.Change
		got   assay.Change
		noise bool
	}{
		{"the same", []assay.Change{dpkg}, dpkg, true},
		{"another line", []assay.Change{dpkg}, textChange(t, "/etc/status", status, status+"\nPackage: evil\n"), false},
		{"the same and another line", []assay.Change{dpkg}, textChange(t, "/etc/status", status, status+"\nPackage: c\nStatus: evil\n"), false},
		{"a line less", []assay.Change{dpkg}, textChange(t, "/etc/status", status, "Package: a\nVersion: 1\n"), false},

		{"log at another time", []assay.Change{log(start)}, log("Nov 24 01:02:03 vm systemd[77]: Started session 12 of tester."), true},
		{"log of another user", []assay.Change{log(start)}, log("Nov 24 01:02:03 vm systemd[77]: Started session 12 of root."), false},
		{"log with a line planted", []assay.Change{log(start)}, log(start, "Nov 23 16:12:02 debian-12-1 sshd[1]: Accepted password for root"), false},
		{"log from another address", []assay.Change{log("2026-11-23T16:12:01Z lease of 10.0.2.15")}, log("2026-11-23T16:12:01Z lease of 6.6.6.6"), false},
		{"log without a moment", []assay.Change{log("started 4 jobs")}, log("started 5 jobs"), false},
		{"log line too long to be seen whole", []assay.Change{long}, long, true},
		{"log line that may go on otherwise", []assay.Change{long}, log(start + strings.Repeat("x", 2000) + "evil"), false},

		{"comment with a moment", []assay.Change{resolv(stamped)}, resolv("# made 2026-12-24 01:02:03 by dhclient 99\nnameserver 10.0.2.3\n"), true},
		{"planted name server", []assay.Change{resolv(stamped)}, resolv("# made 2026-12-24 01:02:03 by dhclient 99\nnameserver 6.6.6.6\n"), false},
		{"name server that changes by itself", []assay.Change{resolv("nameserver 10.0.2.4\n")}, resolv("nameserver 10.0.2.5\n"), false},

		{"database, seen once", []assay.Change{blob("/var/lib/db", "0600", 4096, "one")}, blob("/var/lib/db", "0600", 4096, "two"), false},
		{"database that is always new", []assay.Change{blob("/var/lib/db", "0600", 4096, "one"), blob("/var/lib/db", "0600", 4096, "two")}, blob("/var/lib/db", "0600", 4096, "three"), true},
		{"database that grew", []assay.Change{blob("/var/lib/db", "0600", 4096, "one"), blob("/var/lib/db", "0600", 4096, "two")}, blob("/var/lib/db", "0600", 4097, "three"), false},
		{"database that always becomes the same", []assay.Change{blob("/var/lib/db", "0600", 4096, "one"), blob("/var/lib/db", "0600", 4096, "one")}, blob("/var/lib/db", "0600", 4096, "three"), false},
		{"program in /var", []assay.Change{blob("/var/lib/x", "0755", 4096, "one"), blob("/var/lib/x", "0755", 4096, "two")}, blob("/var/lib/x", "0755", 4096, "three"), false},
		{"content in /etc", []assay.Change{blob("/etc/x", "0644", 4096, "one"), blob("/etc/x", "0644", 4096, "two")}, blob("/etc/x", "0644", 4096, "three"), false},
		{"content in /etc, the same", []assay.Change{blob("/etc/x", "0644", 4096, "one"), blob("/etc/x", "0644", 4096, "two")}, blob("/etc/x", "0644", 4096, "two"), true},
		{"large log that grew", []assay.Change{blob("/var/log/big", "0640", 1<<20, "one"), blob("/var/log/big", "0640", 1<<20+100, "two")}, blob("/var/log/big", "0640", 1<<20+50, "three"), false},

		{"new name each time", []assay.Change{added(File, "/tmp/systemd-private-"+id1+"-a.service-Ab3dE9", "type", "dir", "mode", "0700")}, added(File, "/tmp/systemd-private-"+id2+"-a.service-zZ9yX8", "type", "dir", "mode", "0700"), true},
		{"new name, another service", []assay.Change{added(File, "/tmp/systemd-private-"+id1+"-a.service-Ab3dE9", "type", "dir", "mode", "0700")}, added(File, "/tmp/systemd-private-"+id2+"-b.service-zZ9yX8", "type", "dir", "mode", "0700"), false},
		{"new name, another mode", []assay.Change{added(File, "/tmp/x."+id1, "type", "dir", "mode", "0700")}, added(File, "/tmp/x."+id2, "type", "dir", "mode", "4755"), false},
		{"shorter id", []assay.Change{added(File, "/tmp/x."+id1, "type", "dir")}, added(File, "/tmp/x."+id1[:16], "type", "dir"), false},
		{"one digit is part of a name", []assay.Change{added(File, "/etc/rc2.d", "type", "dir")}, added(File, "/etc/rc3.d", "type", "dir"), false},
		{"machine id in a path", []assay.Change{modified(File, "/var/log/journal/"+id1+"/x", "mode", "0600", "0640")}, modified(File, "/var/log/journal/"+id2+"/x", "mode", "0600", "0640"), true},
		{"a number in the path of a file that stays", []assay.Change{modified(File, "/srv/100", "mode", "0600", "0640")}, modified(File, "/srv/200", "mode", "0600", "0640"), false},

		{"another attribute", []assay.Change{modified(File, "/var/x", "mode", "0600", "0640")}, modified(File, "/var/x", "uid", "0", "1000"), false},
		{"another value", []assay.Change{modified(Unit, "a.service", "active", "inactive", "active")}, modified(Unit, "a.service", "active", "inactive", "failed"), false},
		{"unit that starts", []assay.Change{modified(Unit, "a.service", "active", "inactive", "active")}, modified(Unit, "a.service", "active", "inactive", "active"), true},
		{"came, but was seen to go", []assay.Change{{Kind: User, Key: "x", Op: assay.Removed}}, added(User, "x"), false},
		{"counter", []assay.Change{modified(Sysctl, "fs.n", "value", "1", "2"), modified(Sysctl, "fs.n", "value", "1", "3")}, modified(Sysctl, "fs.n", "value", "1", "9"), true},
		{"setting", []assay.Change{modified(Sysctl, "k.x", "value", "1", "2"), modified(Sysctl, "k.x", "value", "1", "2")}, modified(Sysctl, "k.x", "value", "1", "0"), false},
		{"host and guest disagree", []assay.Change{added(File, "/x", "disputed", "the guest says: no such file")}, added(File, "/x", "disputed", "the guest says: no such file"), false},
		{"process with another number", []assay.Change{added(Process, "root: job --run 1234", "cmdline", "job --run 1234", "pid", "1")}, added(Process, "root: job --run 98765", "cmdline", "job --run 98765", "pid", "7"), true},
		{"process of another user", []assay.Change{added(Process, "root: job", "user", "root")}, added(Process, "tester: job", "user", "tester"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kept, noise := NewNoise(placebos(60, tt.seen...)).Subtract([]assay.Change{tt.got}, 10)
			if tt.noise != (len(noise) == 1) || len(kept)+len(noise) != 1 {
				t.Errorf("got %d kept and %d noise, want noise: %v\nseen %+v\ngot %+v", len(kept), len(noise), tt.noise, tt.seen, tt.got)
			}
		})
	}
}

// How often: of the placebos that lasted as long, and of those that were quicker.
func TestNoiseFrequency(t *testing.T) {
	c := added(User, "x")
	all := append(placebos(100, c, added(User, "y")), placebos(5, c, added(User, "y"), c)...)
	_, noise := NewNoise(all).Subtract([]assay.Change{c}, 60)
	if len(noise) != 1 || noise[0].Seen != 3 || noise[0].Of != 4 {
		t.Errorf("got %+v, want it seen in 3 of 4: the short placebo that did not see it says nothing", noise)
	}
	if _, noise = NewNoise(all).Subtract([]assay.Change{c}, 5); noise[0].Of != 5 {
		t.Errorf("got of %d, want 5", noise[0].Of)
	}
	lines := NewNoise(all).Idles()
	if len(lines) != 2 || lines[0].Key != "x" || lines[0].Seen != 3 || lines[0].Of != 5 || lines[0].Seconds != 5 {
		t.Errorf("got %+v", lines)
	}
}

// Knowing nothing, nothing is noise; what a machine did is noise for its like;
// nothing is lost, doubled or put in another order.
func TestNoiseProperties(t *testing.T) {
	change := rapid.Custom(func(t *rapid.T) assay.Change {
		path := rapid.SampledFrom([]string{"/etc/a", "/var/log/b", "/tmp/c." + id1, "/usr/bin/d"}).Draw(t, "path")
		text := rapid.SampledFrom([]string{"x\n", "Nov 23 16:12:01 h a[1]: b\n", "y\nz\n"}).Draw(t, "text")
		return textChangeOf(path, text)
	})
	rapid.Check(t, func(t *rapid.T) {
		seen := rapid.SliceOf(change).Draw(t, "seen")
		got := rapid.SliceOf(change).Draw(t, "got")
		if kept, noise := (Noise{}).Subtract(got, 1); len(noise) != 0 || len(kept) != len(got) {
			t.Fatal("noise without a placebo")
		}
		kept, noise := NewNoise([]assay.Placebo{{Seconds: 9, Changes: seen}}).Subtract(got, 1)
		if len(kept)+len(noise) != len(got) {
			t.Fatalf("%d kept and %d noise of %d", len(kept), len(noise), len(got))
		}
		for _, c := range got {
			exact := slices.ContainsFunc(seen, func(s assay.Change) bool { return s.Key == c.Key && s.Text == c.Text })
			isNoise := slices.ContainsFunc(noise, func(n assay.Noise) bool { return n.Key == c.Key && n.Text == c.Text })
			if exact && !isNoise {
				t.Fatalf("%+v was seen and is kept", c)
			}
		}
		planted := textChangeOf("/etc/a", "planted by rapid\n")
		if kept, _ = NewNoise([]assay.Placebo{{Seconds: 9, Changes: seen}}).Subtract([]assay.Change{planted}, 1); len(kept) != 1 {
			t.Fatal("what nobody saw was left out")
		}
	})
}

func textChangeOf(path, text string) assay.Change {
	changes, _, _ := Diff(finish("", textFile(path, "before\n"), nil), finish("", textFile(path, "before\n"+text), nil), DiffOptions{})
	return changes[0]
}
