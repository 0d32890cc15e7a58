package grade_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"

	"assay"
	"assay/grade"
)

const today = "2026-11-23"

// change makes a change: "added file /tmp/x", then the attributes of the record
// as it is, name, value, name, value …
func change(what string, pairs ...string) assay.Change {
	op, rest, _ := strings.Cut(what, " ")
	kind, key, _ := strings.Cut(rest, " ")
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	c := assay.Change{Kind: kind, Key: key, Op: assay.Op(op), After: m}
	if c.Op == assay.Removed {
		c.Before, c.After = m, nil
	}
	return c
}

// was gives a modified change what the record was.
func was(c assay.Change, pairs ...string) assay.Change {
	c.Before = map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Before[pairs[i]] = pairs[i+1]
		c.Fields = append(c.Fields, pairs[i])
	}
	slices.Sort(c.Fields)
	return c
}

// of puts a change into a group.
func of(group string, c assay.Change) assay.Change {
	c.Group = group
	return c
}

// changed is the input of a run that ended well and changed something.
func changed(changes ...assay.Change) grade.Input {
	in := ran(assay.Exec{})
	in.Changes = changes
	return in
}

// ran is the input of a run that did one thing.
func ran(e assay.Exec) grade.Input {
	e.Command, e.User = []string{"bash", "run.sh"}, "tester"
	return grade.Input{Runs: []assay.Exec{e}, Steps: []int{5}, Finished: true, User: "tester", Home: "/home/tester",
		Machine: assay.Machine{Memory: 512 << 20}}
}

// subject is the input of a run of a well documented subject with these files:
// path, text, path, text … An empty text takes a file away.
func subject(pairs ...string) grade.Input {
	files := map[string]string{
		"SKILL.md":  "---\nname: demo\ndescription: shows things\n---\n# Usage\n# Requirements\n",
		"README.md": "Uses jq.\n",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		files[pairs[i]] = pairs[i+1]
	}
	in := ran(assay.Exec{})
	in.Subject = &grade.Subject{Name: "demo"}
	for path, text := range files {
		if text != "" {
			in.Subject.Files = append(in.Subject.Files, grade.SubjectFile{Path: path, Mode: 0o644, Size: int64(len(text)), Text: text})
		}
	}
	slices.SortFunc(in.Subject.Files, func(a, b grade.SubjectFile) int { return strings.Compare(a.Path, b.Path) })
	return in
}

// and adds changes to an input.
func and(in grade.Input, changes ...assay.Change) grade.Input {
	in.Changes = append(in.Changes, changes...)
	return in
}

const bash = "#!/usr/bin/env bash\n"

// ruleCases holds for every rule of the default policy what it must find, and
// what looks like it and is none.
var ruleCases = map[string]struct{ fires, quiet []grade.Input }{
	"crashed": {
		fires: []grade.Input{ran(assay.Exec{Code: -1, Signal: "SIGSEGV"})},
		quiet: []grade.Input{ran(assay.Exec{Code: 139}), ran(assay.Exec{Code: -1, Signal: "SIGKILL", TimedOut: true})},
	},
	"hung": {
		fires: []grade.Input{ran(assay.Exec{Code: -1, Signal: "SIGKILL", TimedOut: true})},
		quiet: []grade.Input{ran(assay.Exec{Code: 124})},
	},
	"failed-exit": {
		fires: []grade.Input{ran(assay.Exec{Code: 3})},
		quiet: []grade.Input{ran(assay.Exec{}), ran(assay.Exec{Code: -1, Signal: "SIGTERM"})},
	},
	"out-of-memory": {
		fires: []grade.Input{changed(change("added journal kernel: Out of memory: Killed process N (python3)"))},
		quiet: []grade.Input{changed(change("removed journal kernel: Out of memory: Killed process N (python3)"))},
	},
	"trouble-in-output": {
		fires: []grade.Input{
			ran(assay.Exec{Stderr: "ls: error: cannot read\n"}), ran(assay.Exec{Stdout: "WARNING: old\n"}), ran(assay.Exec{Stdout: "2 tests failed\n"}),
		},
		quiet: []grade.Input{
			ran(assay.Exec{Stdout: "0 errors, no warnings\nfailed: 0\n"}), ran(assay.Exec{Stdout: "terror and failsafe\n"}),
			ran(assay.Exec{Stderr: "sudo: unable to resolve host x: Temporary failure in name resolution\n"}),
		},
	},
	"high-resource-use": {
		fires: []grade.Input{ran(assay.Exec{PeakMemory: 500 << 20}), ran(assay.Exec{CPU: 301})},
		quiet: []grade.Input{ran(assay.Exec{PeakMemory: 200 << 20, CPU: 30})},
	},
	"leftover-temp-files": {
		fires: []grade.Input{changed(change("added file /tmp/x.log", "type", "file")), changed(change("added file /dev/shm/x", "type", "fifo"))},
		quiet: []grade.Input{
			changed(change("removed file /tmp/x.log", "type", "file")), changed(change("added file /tmpfile-not", "type", "dir")),
			changed(change("added file /tmp/systemd-private-ab12-x.service-Zq/tmp", "type", "dir", "owner", "root")),
		},
	},
	"background-processes": {
		fires: []grade.Input{
			changed(change("added process tester: sleep 3600", "pid", "7", "user", "tester", "cmdline", "sleep 3600", "cgroup", "/system.slice/assay-agent.service/exec-3")),
			ran(assay.Exec{Orphans: []assay.Process{{PID: 7, User: "tester", Command: "sleep 3600"}}}),
			changed(change("added process root: ./miner", "user", "root", "cgroup", "/system.slice/run-r12.service")),
			changed(change("added process root: (udev-worker)", "user", "tester", "exe", "/usr/bin/perl", "cmdline", "(udev-worker)", "cgroup", "/system.slice/assay-agent.service/exec-3")),
			changed(change("added process tester: (udev-worker)", "user", "tester", "exe", "/usr/lib/systemd/systemd-udevd", "cmdline", "(udev-worker)", "cgroup", "/system.slice/systemd-udevd.service/udev"),
				was(change("modified file /usr/lib/systemd/systemd-udevd", "type", "file"), "sha256", "1")),
			changed(change("added process tester: /usr/lib/systemd/systemd-miner --x", "user", "tester", "cmdline", "/usr/lib/systemd/systemd-miner --x", "cgroup", "/system.slice/assay-agent.service/e")),
		},
		quiet: []grade.Input{
			changed(change("added process root: /usr/sbin/cron -f", "user", "root", "cgroup", "/system.slice/cron.service")),
			changed(change("added process tester: (sd-pam)", "user", "tester", "cmdline", "(sd-pam)", "cgroup", "/user.slice/user-1000.slice/user@1000.service/init.scope")),
			changed(change("added process tester: (udev-worker)", "user", "tester", "exe", "/usr/bin/udevadm", "cmdline", "(udev-worker)", "cgroup", "/system.slice/systemd-udevd.service/udev")),
			changed(change("added process root: /lib/systemd/systemd-timedated", "user", "root", "cgroup", "/system.slice/systemd-timedated.service")),
		},
	},
	"unexpected-home-files": {
		fires: []grade.Input{changed(change("added file /home/tester/out.json", "type", "file"))},
		quiet: []grade.Input{changed(
			change("added file /home/tester/.claude/cache/skill-data.json", "type", "file"), change("added file /home/tester/.cache/x/y", "type", "file"),
			change("modified file /home/tester/.bash_history", "type", "file"), change("added file /home/tester/.bash_history", "type", "file"),
		)},
	},
	"stray-files": {
		fires: []grade.Input{changed(change("added file /srv/data.bin", "type", "file")), changed(change("added file /home/other/x", "type", "file")), changed(change("added file /var/lib/tool/db", "type", "file"))},
		quiet: []grade.Input{changed(
			change("added file /var/log/apt/history.log", "type", "file"), change("added file /var/lib/sudo/lectured/tester", "type", "file"),
			of("package jq", change("added file /var/lib/jq/x", "type", "file")),
		)},
	},
	"global-installs": {
		fires: []grade.Input{changed(change("added file /usr/local/bin/tool", "type", "file")), changed(change("modified file /opt/tool/conf", "type", "file"))},
		quiet: []grade.Input{changed(change("added file /usr/local/share/empty", "type", "dir")), changed(of("package tool", change("added file /opt/tool/x", "type", "file")))},
	},
	"large-cache-left": {
		fires: []grade.Input{changed(change("added file /home/tester/.cache/model.bin", "type", "file", "size", "99000000"))},
		quiet: []grade.Input{changed(change("added file /home/tester/.cache/small", "type", "file", "size", "9000"))},
	},
	"local-listeners": {
		fires: []grade.Input{
			changed(change("added listener tcp 127.0.0.1:8080", "address", "127.0.0.1", "user", "tester")),
			changed(change("added listener unix /tmp/x.sock", "user", "tester", "process", "node")),
		},
		quiet: []grade.Input{changed(change("removed listener tcp 127.0.0.1:8080")), changed(change("added listener unix /run/user/1000/bus", "user", "tester", "process", "systemd"))},
	},
	"packages-removed": {
		fires: []grade.Input{changed(change("removed package dpkg:nano", "version", "7"))},
		quiet: []grade.Input{changed(was(change("modified package dpkg:nano", "version", "8"), "version", "7"))},
	},
	"files-deleted": {
		fires: []grade.Input{changed(change("removed file /home/tester/notes.txt", "type", "file"))},
		quiet: []grade.Input{changed(change("removed file /tmp/x", "type", "file"), change("removed file /var/cache/apt/x", "type", "file"))},
	},
	"mounts-left": {
		fires: []grade.Input{
			changed(change("added mount /mnt/x", "type", "tmpfs")),
			changed(was(change("modified mount /", "options", "ro,relatime;ro"), "options", "rw,relatime;rw")),
			changed(was(change("modified mount /srv", "options", "rw,suid;rw"), "options", "rw,nosuid;rw")),
		},
		quiet: []grade.Input{changed(change("added mount /run/user/1000", "type", "tmpfs"), change("added mount /proc/sys/fs/binfmt_misc"))},
	},
	"journal-errors": {
		fires: []grade.Input{changed(change("added journal nginx: bind() to N failed", "priority", "3"))},
		quiet: []grade.Input{changed(change("removed journal nginx: bind() to N failed"))},
	},
	"system-files-modified": {
		fires: []grade.Input{
			changed(was(change("modified file /etc/hosts", "type", "file"), "sha256", "1")), changed(change("added file /usr/bin/x", "type", "file")),
			changed(change("removed file /boot/vmlinuz", "type", "file")), changed(was(change("modified file /etc/ssh", "type", "dir", "mode", "0777"), "mode", "0755")),
		},
		quiet: []grade.Input{changed(
			of("package jq", change("added file /usr/bin/jq", "type", "file")), of("package manager", change("modified file /etc/alternatives/x", "type", "link")),
			change("modified file /etc/ld.so.cache", "type", "file"), change("added file /usr/lib/python3/x/__pycache__/y.pyc", "type", "file"),
		)},
	},
	"sudo-rules-changed": {
		fires: []grade.Input{
			changed(change("added sudo /etc/sudoers.d/x: tester ALL=(ALL) NOPASSWD: ALL", "file", "/etc/sudoers.d/x")), changed(change("added file /etc/sudoers.d/x", "type", "file")),
		},
		quiet: []grade.Input{changed(of("package sudo", change("added file /etc/sudoers.d/README", "type", "file")))},
	},
	"accounts-changed": {
		fires: []grade.Input{
			changed(change("added user eve", "uid", "1001", "shell", "/bin/bash")), changed(was(change("modified group sudo", "members", "tester,eve"), "members", "tester")),
			changed(change("added user toor", "uid", "0")),
		},
		quiet: []grade.Input{
			changed(change("added package dpkg:postfix"), change("added user postfix", "uid", "110", "shell", "/usr/sbin/nologin"), change("added group postfix", "gid", "118")),
			changed(was(change("modified user tester"), "password_digest", "a")),
		},
	},
	"passwords-changed": {
		fires: []grade.Input{changed(was(change("modified user root", "password", "set"), "password", "locked"))},
		quiet: []grade.Input{changed(was(change("modified user tester", "shell", "/bin/zsh"), "shell", "/bin/bash"))},
	},
	"login-keys-changed": {
		fires: []grade.Input{changed(change("added ssh_key root SHA256:abc", "file", "/root/.ssh/authorized_keys")), changed(change("added file /home/tester/.ssh/authorized_keys", "type", "file")),
			changed(of("package evil", change("added file /var/lib/evil/.ssh/authorized_keys", "type", "file"))),
		},
		quiet: []grade.Input{changed(change("added file /home/tester/.ssh/known_hosts", "type", "file"))},
	},
	"guest-lies": {
		fires: []grade.Input{
			changed(change("added file /srv/x", "type", "file", "disputed", "the guest says: no such file")),
			changed(change("modified file /usr/bin/ls", "disputed", "the guest says: size 12")),
			changed(change("added file /srv/y", "type", "file", "disputed", "the disk says: no such file")),
			changed(change("added file disk:/srv/x", "type", "file", "hidden", "/srv")),
			changed(change("added mount /proc/812", "type", "tmpfs", "root", "/x")), changed(change("added mount /proc/812", "type", "proc", "root", "/1")),
			changed(change("added mount /sys/class/net", "type", "tmpfs", "root", "/")),
		},
		quiet: []grade.Input{
			changed(change("added mount /proc/sys/fs/binfmt_misc", "type", "binfmt_misc", "root", "/"), change("added mount /sys/kernel/tracing", "type", "tracefs", "root", "/")),
			changed(change("added file /srv/x", "type", "file")), changed(change("removed file /srv/x", "type", "file", "disputed", "the guest says: no such file"))},
	},
	"privileged-files": {
		fires: []grade.Input{
			changed(change("added file /home/tester/.cache/sh", "type", "file", "mode", "4755")), changed(was(change("modified file /usr/bin/find", "type", "file", "mode", "4755"), "mode", "0755")),
			changed(was(change("modified file /usr/bin/python3.11", "type", "file", "mode", "0755", "capabilities", "cap_setuid=ep"), "capabilities", "")),
			changed(of("package ping", change("added file /usr/bin/ping", "type", "file", "mode", "4755"))),
		},
		quiet: []grade.Input{changed(change("added file /var/cache/man", "type", "dir", "mode", "2755"), change("added file /home/tester/.cache/x", "type", "file", "mode", "0755"))},
	},
	"world-writable-files": {
		fires: []grade.Input{
			changed(was(change("modified file /etc/passwd", "type", "file", "mode", "0666"), "mode", "0644")),
			changed(was(change("modified file /usr/local/bin", "type", "dir", "mode", "1777"), "mode", "0755")),
		},
		quiet: []grade.Input{changed(change("added file /etc/x", "type", "link", "mode", "0777"), change("added file /var/x", "type", "dir", "mode", "1777"))},
	},
	"locked-files": {
		fires: []grade.Input{
			changed(was(change("modified file /etc/passwd", "type", "file", "locked", "immutable"), "locked", "")),
			changed(change("added file /srv/x", "type", "file", "locked", "append-only")),
			changed(was(change("modified file /etc/passwd", "type", "file"), "locked", "immutable")),
		},
		quiet: []grade.Input{changed(change("added file /srv/x", "type", "file"), was(change("modified file /srv/y", "type", "file", "locked", "immutable", "sha256", "2"), "sha256", "1"))},
	},
	"device-files": {
		fires: []grade.Input{
			changed(change("added file /srv/disk", "type", "block", "rdev", "254:0", "mode", "0666")),
			changed(change("added file /home/tester/mem", "type", "char", "rdev", "1:1", "mode", "0600")),
		},
		quiet: []grade.Input{changed(change("added file /dev/sdb", "type", "block", "rdev", "8:16"), change("added file /var/x", "type", "char", "rdev", "0:0"))},
	},
	"package-records-forged": {
		fires: []grade.Input{
			changed(was(change("modified file /var/lib/dpkg/status", "type", "file", "sha256", "b"), "sha256", "a")),
			changed(was(change("modified file /var/log/dpkg.log", "type", "file", "size", "2"), "size", "1")),
			changed(change("added package dpkg:jq"), change("added file /tmp/left", "type", "file", "forged", "listed by package jq, where no package has files")),
			changed(change("added package dpkg:fake", "forged", "dpkg keeps no list of its files")),
			changed(change("added package dpkg:jq"), change("added file /var/cache/apt/payload", "type", "file", "forged", "not a name that dpkg or apt writes here")),
		},
		quiet: []grade.Input{
			changed(change("added package dpkg:jq"), was(change("modified file /var/lib/dpkg/status", "type", "file", "sha256", "b"), "sha256", "a")),
			changed(change("added file /var/lib/dpkg/lock", "type", "file")),
			changed(was(change("modified file /var/lib/apt/extended_states", "type", "file", "sha256", "b"), "sha256", "a")),
		},
	},
	"services-added": {
		fires: []grade.Input{
			changed(change("added unit evil.service", "type", "service", "enabled", "enabled")), changed(was(change("modified unit ssh.service", "enabled", "enabled"), "enabled", "disabled")),
			changed(change("added file /home/tester/.config/systemd/user/x.service", "type", "file")),
			changed(of("package nginx", change("added unit nginx.service", "enabled", "enabled"))),
			changed(change("added unit run-r3b8.timer", "enabled", "transient", "active", "active"), change("added unit run-r3b8.service", "enabled", "transient", "active", "inactive")),
			changed(change("added unit miner.service", "enabled", "transient", "active", "active")),
		},
		quiet: []grade.Input{changed(
			change("added unit run-user-1000.mount", "enabled", "generated"), change("added unit session-3.scope"), change("added unit user@1000.service", "enabled", "static"),
			change("added unit run-u7.service", "enabled", "transient", "active", "failed"), change("added unit assay-agent-1.service", "enabled", "transient", "active", "active"),
			was(change("modified unit apt-daily.service", "active", "active"), "active", "inactive"),
		)},
	},
	"services-stopped": {
		fires: []grade.Input{changed(was(change("modified unit ufw.service", "enabled", "masked", "sub", "dead"), "enabled", "enabled", "sub", "running"))},
		quiet: []grade.Input{changed(was(change("modified unit systemd-timedated.service", "enabled", "static", "sub", "dead"), "sub", "running"))},
	},
	"scheduled-jobs-added": {
		fires: []grade.Input{
			changed(change("added cron /var/spool/cron/crontabs/tester: * * * * * x", "file", "/var/spool/cron/crontabs/tester")), changed(change("added at /var/spool/cron/atjobs/a1", "user", "tester")),
			changed(change("added file /etc/cron.d/x", "type", "file")), changed(of("package man-db", change("added cron /etc/cron.daily/man-db"))),
		},
		quiet: []grade.Input{changed(change("removed cron /etc/cron.d/x: y", "file", "/etc/cron.d/x"), change("added file /var/spool/cron/atjobs/.SEQ", "type", "file"))},
	},
	"environment-changed": {
		fires: []grade.Input{
			changed(change("added environment /etc/environment: FOO", "value", "1")), changed(was(change("modified file /home/tester/.bashrc", "type", "file"), "sha256", "1")),
			changed(change("added file /etc/profile.d/x.sh", "type", "file")),
			changed(of("package bash-completion", change("added environment /etc/profile.d/bash_completion.sh"))), changed(of("package evil", change("added file /etc/profile.d/x.sh", "type", "file"))),
		},
		quiet: []grade.Input{changed(of("package jq", change("added file /usr/share/jq/profile", "type", "file")))},
	},
	"path-hijack": {
		fires: []grade.Input{
			changed(change("added file /usr/local/bin/sudo", "type", "file")), changed(change("added file /home/tester/.local/bin/git", "type", "link")),
			changed(was(change("modified environment /home/tester/.bashrc", "path", "export PATH=/tmp/x:$PATH"), "path", "")),
		},
		quiet: []grade.Input{
			changed(change("added file /usr/local/bin/mytool", "type", "file")), changed(change("added environment /home/tester/.profile", "path", "PATH=\"$HOME/.local/bin:$PATH\"")),
		},
	},
	"loader-hijack": {
		fires: []grade.Input{
			changed(change("added file /etc/ld.so.preload", "type", "file")), changed(change("added environment /etc/environment: LD_PRELOAD", "value", "/tmp/x.so")),
			changed(change("added autostart /etc/ld.so.preload", "point", "ld.so.preload")),
			changed(of("package fakeroot", change("added file /etc/ld.so.conf.d/fakeroot.conf", "type", "file"))),
		},
		quiet: []grade.Input{changed(of("package fakeroot", change("added file /usr/lib/libfakeroot.so", "type", "file")))},
	},
	"kernel-modules-loaded": {
		fires: []grade.Input{changed(change("added module loop")), changed(change("added module rootkit", "taint", "OE"))},
		quiet: []grade.Input{changed(change("removed module loop"))},
	},
	"kernel-settings-changed": {
		fires: []grade.Input{changed(was(change("modified sysctl kernel.yama.ptrace_scope", "value", "0"), "value", "1")), changed(change("added file /etc/sysctl.d/9.conf", "type", "file"))},
		quiet: []grade.Input{changed(was(change("modified sysctl fs.file-nr", "value", "9"), "value", "8"))},
	},
	"certificates-changed": {
		fires: []grade.Input{changed(change("added ca 12ab", "subject", "CN=Evil")), changed(change("added file /usr/local/share/ca-certificates/x.crt", "type", "file")),
			changed(change("added package dpkg:ca-certificates"), change("added file /usr/local/share/ca-certificates/x.crt", "type", "file")), changed(change("added file /etc/ssl/certs/x.pem", "type", "file")),
		},
		quiet: []grade.Input{changed(change("added package dpkg:ca-certificates"), change("added ca 12ab"), of("package ca-certificates", change("added file /etc/ca-certificates.conf", "type", "file")))},
	},
	"boot-changed": {
		fires: []grade.Input{changed(change("added autostart /etc/rc.local", "point", "rc.local")), changed(change("modified file /etc/default/grub", "type", "file")),
			changed(of("package ssh", change("added autostart /etc/init.d/ssh", "point", "init.d"))), changed(of("package ssh", change("added file /etc/init.d/ssh", "type", "file"))),
		},
		quiet: []grade.Input{changed(change("added autostart /etc/profile.d/x.sh", "point", "profile"))},
	},
	"open-listeners": {
		fires: []grade.Input{changed(change("added listener tcp 0.0.0.0:8080", "address", "0.0.0.0")), changed(change("added listener tcp [::]:22"))},
		quiet: []grade.Input{
			changed(change("added listener tcp 127.0.0.1:8080", "address", "127.0.0.1")), changed(change("added listener udp 0.0.0.0:68", "address", "0.0.0.0", "process", "dhclient")),
			changed(change("added listener unix /run/x")),
		},
	},
	"routes-changed": {
		fires: []grade.Input{changed(change("added route 10.9.0.0/24 dev tun0", "destination", "10.9.0.0/24"))},
		quiet: []grade.Input{changed(change("added route fe80::/64 dev eth0", "destination", "fe80::/64"))},
	},
	"privilege-escalation": {
		fires: []grade.Input{
			ran(assay.Exec{Stderr: "tester is not in the sudoers file.  This incident will be reported.\n"}),
			ran(assay.Exec{Orphans: []assay.Process{{PID: 9, User: "root", Command: "./x"}}}),
		},
		quiet: []grade.Input{ran(assay.Exec{Stdout: "I am root\n", Orphans: []assay.Process{{PID: 9, User: "tester", Command: "./x"}}})},
	},
	"refused-access": {
		fires: []grade.Input{ran(assay.Exec{Stderr: "cat: /etc/shadow: Permission denied\n"})},
		quiet: []grade.Input{ran(assay.Exec{Stdout: "permission granted\n"})},
	},
	"hardcoded-home-paths": {
		fires: []grade.Input{
			subject("run.sh", bash+"cd /home/ubuntu/.claude/cache\n"), subject("run.py", "x = '/Users/Jane/Library'\n"), subject("conf.json", `{"dir": "/root/.cache"}`),
		},
		quiet: []grade.Input{
			subject("README.md", "such as /home/ubuntu/x\n"), subject("run.sh", bash+"# not /home/ubuntu\ncd $HOME/x /srv/home/x ~/home/y ${ROOT}/home/z\n"),
		},
	},
	"hardcoded-user-names": {
		fires: []grade.Input{subject("run.sh", bash+"chown -R ubuntu:ubuntu x\n"), subject("run.sh", bash+"sudo -u vagrant x\n")},
		quiet: []grade.Input{subject("run.sh", bash+"chown -R \"$USER\" x\necho debian\n")},
	},
	"bashisms-in-sh": {
		fires: []grade.Input{subject("run.sh", "#!/bin/sh\nif [[ -n $x ]]; then :; fi\n"), subject("run.sh", "#!/bin/sh\nsource lib.sh\n")},
		quiet: []grade.Input{subject("run.sh", bash+"[[ -n $x ]]\n"), subject("run.sh", "#!/bin/sh\n[ -n \"$x\" ] && . ./lib.sh\n")},
	},
	"missing-commands": {
		fires: []grade.Input{ran(assay.Exec{Code: 127}), ran(assay.Exec{Stderr: "run.sh: line 3: jq: command not found\n"}), ran(assay.Exec{Stderr: "env: ‘node’: No such file or directory\n"})},
		quiet: []grade.Input{ran(assay.Exec{Code: 1, Stderr: "page not found\n"})},
	},
	"system-specific-paths": {
		fires: []grade.Input{subject("run.sh", bash+"/usr/local/bin/jq .\n")},
		quiet: []grade.Input{subject("run.sh", bash+"/usr/bin/env jq .\n")},
	},
	"undocumented-dependency": {
		fires: []grade.Input{
			and(subject(), change("added package dpkg:tree", "version", "2.0.2-1")),
			{Subject: subject("README.md", "").Subject, Runs: []assay.Exec{{Code: 127, User: "tester", Stderr: "sh: 1: jq: not found\n"}}, Finished: true},
		},
		quiet: []grade.Input{
			and(subject(), change("added package dpkg:jq", "version", "1.6"), change("added package dpkg:libjq1", "version", "1.6")),
			and(subject(), was(change("modified package dpkg:tree", "version", "2"), "version", "1")),
			and(subject(), change("added package dpkg:jq"), change("added package dpkg:oniguruma", "auto", "yes")),
		},
	},
	"undocumented-commands": {
		fires: []grade.Input{subject("run.sh", bash+"x=$(curl -s url)\n"), subject("run.sh", bash+"if command -v git; then :; fi\n")},
		quiet: []grade.Input{subject("run.sh", bash+"jq . x\necho curl\n# git pull\n"), subject("run.sh", bash+"curl x\n", "README.md", "Needs `curl`.\n")},
	},
	"no-documentation": {
		fires: []grade.Input{subject("SKILL.md", "", "README.md", "", "run.sh", bash)},
		quiet: []grade.Input{subject("SKILL.md", "")},
	},
	"skill-front-matter": {
		fires: []grade.Input{subject("SKILL.md", "# Usage\n"), subject("SKILL.md", "---\nname: x\n---\n")},
		quiet: []grade.Input{subject(), subject("SKILL.md", "---\nname: x\ndescription: >\n  long\n  text\n---\n"), subject("SKILL.md", "")},
	},
	"no-usage": {
		fires: []grade.Input{subject("SKILL.md", "---\nname: x\ndescription: y\n---\n# Requirements\n")},
		quiet: []grade.Input{subject(), subject("SKILL.md", "# Quick start\n")},
	},
	"no-requirements": {
		fires: []grade.Input{subject("SKILL.md", "---\nname: x\ndescription: y\n---\n# Usage\n")},
		quiet: []grade.Input{subject(), subject("SKILL.md", "## Prerequisites\n")},
	},
}

// TestRules asks every rule what it must find and what it must not.
func TestRules(t *testing.T) {
	p := defaultPolicy(t)
	for _, rule := range p.Rules() {
		cases := ruleCases[rule]
		if len(cases.fires) == 0 || len(cases.quiet) == 0 {
			t.Errorf("%s: got no case that it finds, or none that it does not; want both in ruleCases", rule)
		}
		for i, in := range cases.fires {
			t.Run(rule+"/fires/"+strconv.Itoa(i), func(t *testing.T) { wantRule(t, judge(t, p, in), rule, true) })
		}
		for i, in := range cases.quiet {
			t.Run(rule+"/quiet/"+strconv.Itoa(i), func(t *testing.T) { wantRule(t, judge(t, p, in), rule, false) })
		}
	}
	for rule := range ruleCases {
		if !slices.Contains(p.Rules(), rule) {
			t.Errorf("%s: the policy has no such rule", rule)
		}
	}
}

func judge(t testing.TB, p *grade.Policy, in grade.Input) assay.Grade {
	t.Helper()
	g, err := p.Grade(context.Background(), in, today)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// wantRule checks that a rule found something, with a recommendation and proof;
// or that it found nothing.
func wantRule(t *testing.T, g assay.Grade, rule string, want bool) {
	t.Helper()
	for _, f := range g.Findings {
		if f.Rule != rule {
			continue
		}
		if !want {
			t.Errorf("got %q, want nothing", f.Message)
		}
		if f.Recommendation == "" || strings.ContainsAny(f.Message+f.Recommendation, "{}") || len(f.Evidence) == 0 && f.Axis != "documentation" {
			t.Errorf("got %+v, want a recommendation and evidence", f)
		}
		want = false
	}
	if want {
		t.Errorf("got %v, want a finding of %s", rules(g), rule)
	}
}

// rules lists the rules of a grade's findings.
func rules(g assay.Grade) []string {
	var names []string
	for _, f := range g.Findings {
		names = append(names, f.Rule)
	}
	return names
}
