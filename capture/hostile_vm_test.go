//go:build linux

package capture_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/capture"
)

// A guest that hides files, forges times, writes to its disk behind its kernel's
// back, or has its agent replaced or killed, is seen through.
func TestHostileGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	g := launch(ctx, t)
	host := capture.NewHost()
	g.run("echo AAAAAAAA | sudo tee /etc/raw /etc/forged >/dev/null && sync")
	before := g.hostTake(host)

	g.run("sudo mkdir /srv/x && echo evil | sudo tee /srv/x/beneath >/dev/null && sudo mount -t tmpfs none /srv/x")
	g.run(forge)
	g.run(writeRaw)
	g.run("echo /usr/lib/no-such.so | sudo tee /etc/ld.so.preload >/dev/null; echo secret | sudo tee /srv/evil-file >/dev/null; sudo touch /srv/plain")
	g.run("echo payload | sudo tee /srv/covered >/dev/null; sudo mount --bind /bin/true /srv/covered; sudo touch /srv/locked; sudo chattr +i /srv/locked")
	honest := g.hostTake(host)
	if r := g.record(honest, capture.HiddenPrefix+"/srv/covered"); r.Attrs["hidden"] != "/srv/covered" || r.Attrs["size"] != "8" {
		t.Errorf("below a mounted file: got %v", r)
	}
	if r := g.record(honest, "/srv/locked"); r.Attrs["locked"] != "immutable" {
		t.Errorf("an immutable file: got %v", r)
	}
	if r := g.record(honest, capture.HiddenPrefix+"/srv/x/beneath"); r.Attrs["hidden"] != "/srv/x" || r.Attrs["sha256"] == "" {
		t.Errorf("below a mount: got %v", r)
	}
	for _, p := range []string{"/etc/raw", "/etc/forged"} {
		if was, is := g.record(before, p), g.record(honest, p); was.Attrs["sha256"] == is.Attrs["sha256"] {
			t.Errorf("%s: the change is not seen: %v", p, is)
		}
	}
	if was, is := g.record(before, "/etc/forged"), g.record(honest, "/etc/forged"); was.Attrs["mtime"] != is.Attrs["mtime"] || was.Attrs["size"] != is.Attrs["size"] {
		t.Errorf("the forgery is none: %v, was %v", is, was)
	}
	g.record(honest, "/etc/ld.so.preload")
	if d := disputedIn(honest); len(d) > 0 {
		t.Errorf("an honest guest is disputed: %q", d)
	}

	liar := filepath.Join(t.TempDir(), "liar")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", liar, "./testdata/liar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	g.replaceAgent(liar)
	g.run("echo more | sudo tee -a /srv/evil-file /srv/plain >/dev/null")
	lied := g.hostTake(host)
	want := []string{"/srv/evil-file: the guest says: no such file", "/srv/ghost: the disk says: no such file"}
	if got := disputedIn(lied); !slices.Equal(got, want) {
		t.Errorf("disputed: got %q, want %q", got, want)
	}
	changes, _, err := capture.Diff(honest, lied, capture.DiffOptions{})
	must(t, err)
	for _, w := range []string{"/srv/evil-file", "/srv/ghost"} {
		i := slices.IndexFunc(changes, func(c assay.Change) bool { return c.Key == w })
		if i < 0 || changes[i].After["disputed"] == "" {
			t.Errorf("%s is not in the diff", w)
		}
	}

	g.run("sudo systemd-run --no-block --on-active=1 systemctl stop assay-agent; echo last | sudo tee /srv/evil-last >/dev/null; sleep 0.1")
	time.Sleep(5 * time.Second)
	dead, err := host.Take(ctx, g.m, nil, capture.Options{})
	must(t, err)
	t.Logf("no agent: %d records, %q", len(dead.Records), dead.Problems)
	if g.record(dead, "/srv/evil-last"); !dead.Partial || len(dead.Problems) == 0 {
		t.Errorf("without an agent: partial %v, problems %q", dead.Partial, dead.Problems)
	}
	changes, _, err = capture.Diff(lied, dead, capture.DiffOptions{})
	must(t, err)
	for _, c := range changes {
		if c.Op == "removed" && c.Key != "/srv/ghost" {
			t.Errorf("without an agent: %s %s %s", c.Op, c.Kind, c.Key)
		}
	}
}

// forge changes a file and puts its times back, with the clock turned back
// meanwhile: size, time of change and all are what they were, to the second.
const forge = `sudo python3 - <<'PY'
import os, time
f = "/etc/forged"; was = os.stat(f); now = time.clock_gettime_ns(time.CLOCK_REALTIME)
time.clock_settime_ns(time.CLOCK_REALTIME, was.st_ctime_ns)
fd = os.open(f, os.O_WRONLY); os.pwrite(fd, b"BBBBBBBB", 0); os.close(fd)
os.utime(f, ns=(was.st_atime_ns, was.st_mtime_ns))
time.clock_settime_ns(time.CLOCK_REALTIME, now)
PY`

// writeRaw changes a file's content on the disk below the file system, which
// notices nothing.
const writeRaw = `sudo python3 - <<'PY'
import fcntl, os, struct
f = os.open("/etc/raw", os.O_RDONLY)
block = struct.unpack("I", fcntl.ioctl(f, 1, struct.pack("I", 0)))[0]
disk = next(l.split()[9 if l.split()[6] == "-" else l.split().index("-") + 2] for l in open("/proc/self/mountinfo") if l.split()[4] == "/")
if disk == "/dev/root": disk = "/dev/vda"
d = os.open(disk, os.O_RDWR); assert os.pread(d, 8, block * 4096) == b"AAAAAAAA", disk
os.pwrite(d, b"CCCCCCCC", block * 4096); os.fsync(d)
assert open("/etc/raw").read() == "AAAAAAAA\n"
PY`

// record finds the record of a file, which must be there.
func (g *machine) record(c capture.Capture, key string) capture.Record {
	g.t.Helper()
	i := slices.IndexFunc(c.Records, func(r capture.Record) bool { return r.Kind == capture.File && r.Key == key })
	if i < 0 {
		g.t.Errorf("%s is not in the capture", key)
		return capture.Record{}
	}
	return c.Records[i]
}

// disputedIn lists what a capture's witnesses disagree about.
func disputedIn(c capture.Capture) []string {
	var out []string
	for _, r := range c.Records {
		if d := r.Attrs["disputed"]; d != "" {
			out = append(out, strings.Join([]string{r.Key, d}, ": "))
		}
	}
	return out
}
