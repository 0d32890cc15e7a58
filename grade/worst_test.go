package grade_test

import (
	"strings"
	"testing"
)

// What is told first of a run that deleted everything is that it did, and not what
// follows from it.
func TestDeletedSystemComesFirst(t *testing.T) {
	g := judge(t, defaultPolicy(t), changed(
		change("removed file /etc/sudoers", "type", "file"), change("removed sudo /etc/sudoers: root ALL", "file", "/etc/sudoers"),
		change("removed user root", "uid", "0"), change("removed file /etc/ld.so.conf", "type", "file"),
		change("removed ca 12ab", "subject", "CN=x"), change("removed file /usr/bin/ls", "type", "file"), change("removed file /usr/bin/cp", "type", "file"), change("removed file /srv/data", "type", "file"),
	))
	if f := g.Findings[0]; f.Rule != "system-files-modified" && f.Rule != "files-deleted" || !strings.Contains(f.Message, "deleted") {
		t.Errorf("the first finding is %s %s: %s", f.Severity, f.Rule, f.Message)
	}
}

// A message of the journal is shown as it was, not as its key levels it.
func TestOutOfMemoryInItsOwnWords(t *testing.T) {
	g := judge(t, defaultPolicy(t), changed(change("added journal kernel: Out of memory: Killed process # (python#)", "message", "Out of memory: Killed process 812 (python3)")))
	if m := g.Findings[0].Message; !strings.Contains(m, "812 (python3)") {
		t.Errorf("got %q", m)
	}
}

// What a package did is told too, if milder.
func TestPackagesAreToldMilder(t *testing.T) {
	for key, severity := range map[string]string{"/etc/profile.d/x.sh": "INFO", "/etc/init.d/x": "INFO", "/etc/sysctl.d/x.conf": "INFO", "/var/lib/x/.ssh/authorized_keys": "HIGH", "/usr/lib/systemd/user/x.service": "INFO"} {
		g := judge(t, defaultPolicy(t), changed(of("package x", change("added file "+key, "type", "file"))))
		if len(g.Findings) != 1 || string(g.Findings[0].Severity) != severity || !strings.HasSuffix(g.Findings[0].Message, "(by a package)") {
			t.Errorf("%s: got %+v, want one of %s", key, g.Findings, severity)
		}
	}
}
