package fake

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"assay/guest"
	"assay/vm"
)

// booted returns a computer that runs, with a user of its image's own.
func booted(t *testing.T) *Computer {
	t.Helper()
	c, err := NewComputer(Hardware{Image: vm.Image{Name: "debian-12"}, Hostname: "box", CPUs: 1, Memory: 1 << 29, Agent: []byte("\x7fELF agent")})
	if err == nil {
		err = errors.Join(c.AddUser("debian", false), c.On())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Off)
	return c
}

// as runs a line of shell and returns what it said, and its exit code.
func as(t *testing.T, c *Computer, user, line string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	exit, err := c.Exec(t.Context(), guest.Command{Shell: line, User: user}, guest.Streams{Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out.String(), exit.Code
}

// TestAdministration shows what those who prepare a guest can do in a fake one,
// and that an ordinary user can not.
func TestAdministration(t *testing.T) {
	for _, tc := range []struct {
		user, line, want string
		code             int
	}{
		{"root", "hostname; id tester", "box\nid: 'tester': no such user\n", 1},
		{"root", "useradd --create-home --uid 1500 --user-group --shell /bin/bash tester && id -u tester && ls -d /home/tester", "1500\n/home/tester\n", 0},
		{"root", "useradd a && useradd --uid 1001 b; id -u a", "useradd: UID 1001 is not unique: file already exists\n1001\n", 0},
		{"root", "useradd a && userdel --force --remove a; id a; test -e /home/a", "id: 'a': no such user\n", 1},
		{"debian", "useradd x", "useradd: Permission denied.\n", 1},
		{"debian", "sudo id", "sudo: a password is required\n", 1},
		{"debian", "systemctl stop cron", "systemctl: Interactive authentication required.\n", 1},
		{"root", "systemctl start nothing", "Unit nothing.service not found.\n", 5},
		{"root", "systemctl is-system-running", "running\n", 0},
		{"root", "ip -4 rule add pref 10 to 1.2.3.4; ip -6 rule add pref 10; ip rule; ip -4 rule del pref 10; ip -4 rule del pref 10", "-4 pref 10 to 1.2.3.4\n-6 pref 10\nip: RTNETLINK answers: No such file or directory\n", 2},
		{"root", "echo x >/srv/f; chmod 640 /srv/f; chown debian /srv/f; stat -c '%a %U %s' /srv/f", "640 debian 2\n", 0},
		{"root", "mkdir -p /srv/d; touch /srv/d/f; chown -R debian /srv/d; stat -c %U /srv/d/f", "debian\n", 0},
		{"root", `awk -F: '$1 == "debian" { print $6 }' /etc/passwd`, "/home/debian\n", 0},
		{"root", "mount -o ro LABEL=cidata /mnt", "mount: /mnt: can't find LABEL=cidata.\n", 32},
		{"root", "cloud-init status --wait", "status: done\n", 0},
		{"root", "printf '\\177ELF other' >/srv/p; chmod 755 /srv/p; /srv/p", "/srv/p: cannot execute binary file: Exec format error\n", 126},
		{"root", "printf '\\177ELF agent' >/srv/p; chmod 755 /srv/p; /srv/p serve", "/srv/p: got \"serve\", want version or stdio; the rest is the service's\n", 1},
	} {
		if got, code := as(t, booted(t), tc.user, tc.line); got != tc.want || code != tc.code {
			t.Errorf("%s: got %q, %d; want %q, %d", tc.line, got, code, tc.want, tc.code)
		}
	}
}

// TestUserData proves what of user-data is done at boot.
func TestUserData(t *testing.T) {
	c := booted(t)
	c.Off()
	c.Insert(map[string][]byte{"user-data": []byte("#cloud-config\nbootcmd:\n  - [sh, -c, 'echo \"a, b\" >/srv/one']\n  - echo two >/srv/two\nother:\n  - [touch, /srv/never]\nruncmd:\n  - [\"sh\", \"-c\", \"exit 3\"]\n")})
	if err := c.On(); err != nil {
		t.Fatal(err)
	}
	if got, _ := as(t, c, "root", "cat /srv/one /srv/two; test -e /srv/never || echo not"); got != "a, b\ntwo\nnot\n" {
		t.Errorf("got %q", got)
	}
	if log, err := c.Read("/var/log/cloud-init-output.log"); err != nil || !strings.Contains(string(log), "exit code 3") {
		t.Errorf("cloud-init's log: got %q, %v; want the failure", log, err)
	}
}

// TestSwitchesItselfOff proves that a guest can end itself, in good order, and
// begin again.
func TestSwitchesItselfOff(t *testing.T) {
	c := booted(t)
	boot, _ := as(t, c, "root", "cat /proc/sys/kernel/random/boot_id")
	power := c.Power()
	if _, err := c.Exec(t.Context(), guest.Command{Shell: "echo kept >/srv/f; reboot", User: "root"}, guest.Streams{Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}); err != nil {
		t.Fatal(err)
	}
	<-power.Done()
	for !c.Running() {
		if t.Context().Err() != nil {
			t.Fatal("it does not come up again")
		}
	}
	got, _ := as(t, c, "root", "cat /srv/f /proc/sys/kernel/random/boot_id")
	if again, ok := strings.CutPrefix(got, "kept\n"); !ok || again == boot {
		t.Errorf("got %q, want the file and another boot than %q", got, boot)
	}
}
