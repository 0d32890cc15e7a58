package guest_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/guest"
	"assay/guest/guesttest"
)

func TestInfo(t *testing.T) {
	c := guesttest.Process(t, "")
	info, err := c.Info(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	hostname, _ := os.Hostname()
	if info.Hostname != hostname || info.CPUs < 1 || info.Memory < 1<<20 || info.Uptime <= 0 || len(info.BootID) != 36 || info.Cgroups {
		t.Errorf("got %+v", info)
	}
	if info.OS.ID == "" || info.OS.Kernel == "" || info.OS.Arch == "" || info.User == "" || info.Home == "" || info.Agent != assay.Version {
		t.Errorf("got %+v", info)
	}
}

func TestWait(t *testing.T) {
	c := guesttest.Process(t, "")
	file := t.TempDir() + "/flag"
	short, cancel := context.WithTimeout(limit(t), 100*time.Millisecond)
	defer cancel()
	if err := c.Wait(short, guest.Condition{File: file}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no file: got %v, want the deadline", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { os.WriteFile(file, nil, 0o600) })
	if err := c.Wait(limit(t), guest.Condition{File: file}); err != nil {
		t.Errorf("file: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := c.Wait(limit(t), guest.Condition{Port: port}); err != nil {
		t.Errorf("port: %v", err)
	}
	l.Close()
	short, cancel = context.WithTimeout(limit(t), 100*time.Millisecond)
	defer cancel()
	if err := c.Wait(short, guest.Condition{Port: port}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no port: got %v, want the deadline", err)
	}
	for _, bad := range []guest.Condition{{}, {File: "/", Port: 1}, {Port: -1}, {Port: 1 << 16}, {Unit: "--help"}, {File: "relative"}} {
		if err := c.Wait(limit(t), bad); err == nil {
			t.Errorf("%+v: got no error", bad)
		}
	}
}

// TestRenew gives this host nothing but randomness: the rest is for guests.
func TestRenew(t *testing.T) {
	must(t, os.Getuid() == 0, "root")
	c := guesttest.Process(t, "")
	if err := c.Renew(limit(t), guest.Identity{Entropy: random(64)}); err != nil && !strings.Contains(err.Error(), "operation not permitted") {
		t.Error(err)
	}
	for _, id := range []string{"short", strings.Repeat("g", 32), strings.Repeat("A", 32), "../../../../../../etc/passwd-----"} {
		if err := c.Renew(limit(t), guest.Identity{MachineID: id}); err == nil || !strings.Contains(err.Error(), "want 32 hex digits") {
			t.Errorf("machine-id %q: got %v", id, err)
		}
	}
}

func TestOSRelease(t *testing.T) {
	for _, tt := range []struct {
		release string
		want    assay.OS
	}{
		{"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
			assay.OS{ID: "debian", Version: "12", Key: "00012", Name: "Debian GNU/Linux 12 (bookworm)"}},
		{"ID='alpine'\nVERSION_ID=3.20.1\nPRETTY_NAME='A \\$ \\\"x\\\"'", assay.OS{ID: "alpine", Version: "3.20.1", Key: assay.VersionKey("3.20.1"), Name: `A $ "x"`}},
		{"", assay.OS{ID: "linux"}},
	} {
		if got := guest.OSOf(tt.release); got != tt.want {
			t.Errorf("got %+v, want %+v", got, tt.want)
		}
	}
}

func TestAccount(t *testing.T) {
	for line, want := range map[string]string{
		"tester:x:1000:1000:T,,,:/home/tester:/bin/bash\n": "tester 1000 1000 /home/tester /bin/bash",
		"odd:x:7:8:::\n":           "odd 7 8 / /bin/sh",
		"# comment\n":              "",
		"neg:x:-1:0::/:/bin/sh\n":  "",
		"big:x:1e9:0::/:/bin/sh\n": "",
	} {
		if got := guest.ParseAccount(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestOwnCgroupPath(t *testing.T) {
	for self, want := range map[string]string{
		"0::/system.slice/assay-agent.service\n": "/system.slice/assay-agent.service",
		"1:name=systemd:/\n0::/x\n":              "/x",
		"4:memory:/\n":                           "",
	} {
		if got, _ := guest.CgroupPath(self); got != want {
			t.Errorf("%q: got %q, want %q", self, got, want)
		}
	}
}
