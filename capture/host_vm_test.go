//go:build linux

package capture_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/capture"
)

// What the host reads from the disk is what the agent finds in the guest, record
// by record: after a boot, and after changes of every kind that a file system has.
func TestHostSeesWhatTheGuestSees(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	g := launch(ctx, t)
	host := capture.NewHost()
	before := g.hostTake(host)
	g.agree(before, g.take(nil))
	g.run(everything)
	after := g.hostTake(host)
	g.agree(after, g.take(nil))
	g.agree(g.hostTake(capture.NewHost()), after) // nothing known: nothing taken over
	changes, _, err := capture.Diff(before, after, capture.DiffOptions{})
	must(t, err)
	for _, c := range changes {
		t.Logf("%s %s %s %v", c.Op, c.Kind, c.Key, c.Fields)
	}
}

// everything changes a guest in every way that its records tell.
const everything = `set -e; exec 2>&1
sudo apt-get install -y jq >/dev/null
mkdir -p /tmp/odd && cd /tmp/odd
echo text >plain; ln plain second-name; ln -s plain link; ln -s "$(printf '%0200d' 0)" long-link; mkfifo pipe
sudo mknod device b 8 17; sudo mknod other c 4 300; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
cp /usr/bin/true cap; sudo setcap cap_net_raw=ep cap
python3 - <<'PY'
import os
open("xattr", "w").write("x"); os.setxattr("xattr", "user.note", b"hello"); os.setxattr("xattr", "user.big", b"y" * 2000)
def acl(*entries): return b"\x02\0\0\0" + b"".join(t.to_bytes(2, "little") + p.to_bytes(2, "little") + i.to_bytes(4, "little") for t, p, i in entries)
none = 0xffffffff
os.setxattr("plain", "system.posix_acl_access", acl((1, 6, none), (2, 4, 33), (4, 4, none), (16, 6, none), (32, 0, none)))
os.mkdir("acl"); os.setxattr("acl", "system.posix_acl_default", acl((1, 7, none), (4, 5, none), (32, 5, none)))
open(b"bad\xff\n name", "w").close()
f = open("sparse", "w"); f.truncate(50 << 20); f.seek(30 << 20); f.write("middle"); f.close()
f = os.open("reserved", os.O_CREAT | os.O_WRONLY); os.posix_fallocate(f, 0, 1 << 20); os.close(f)
os.mkdir("many"); [open("many/%d" % i, "w").close() for i in range(1000)]
PY
sudo chmod 4755 cap; sudo chown 4242:4343 link -h; sudo mkdir -p /srv/hidden && echo covered | sudo tee /srv/hidden/file >/dev/null
sudo mount -t tmpfs none /srv/hidden && echo above | sudo tee /srv/hidden/other >/dev/null
sudo mkdir /mnt/bind && sudo mount --bind /tmp/odd /mnt/bind
sudo useradd -m mallory; echo '* * * * * root true' | sudo tee /etc/cron.d/extra >/dev/null; sudo rm /etc/crontab; sync`

func (g *machine) hostTake(h *capture.Host) capture.Capture {
	g.t.Helper()
	start := time.Now()
	c, err := h.Take(g.ctx, g.m, g.c, capture.Options{})
	must(g.t, err)
	g.t.Logf("%5.2f s  capture of %d records by the %s, problems %q", time.Since(start).Seconds(), len(c.Records), c.Witness, c.Problems)
	if c.Witness != capture.WitnessHost {
		g.t.Errorf("got the witness %q, want the host", c.Witness)
	}
	return c
}

// passing are the attributes that a moment changes, of the files that write
// themselves.
func passing(r capture.Record) []string {
	switch {
	case r.Kind == capture.File && (strings.HasPrefix(r.Key, "/var/log/") || strings.HasPrefix(r.Key, "/run/") || strings.HasPrefix(r.Key, "/dev/") || strings.HasPrefix(r.Key, "/var/lib/systemd/") || r.Key == "/sys" || r.Key == "/proc"):
		return []string{"size", "sha256", "mtime", "ctime"}
	case r.Kind == capture.Process || r.Kind == capture.Listener:
		return []string{"pid", "ppid"}
	}
	return nil
}

// agree fails for everything in which two captures differ, times of change
// included, but for what lies beneath mounts: only the host sees that.
func (g *machine) agree(host, guest capture.Capture) {
	g.t.Helper()
	theirs := map[string]capture.Record{}
	for _, r := range guest.Records {
		theirs[r.Kind+" "+r.Key] = r
	}
	var odd []string
	for _, r := range host.Records {
		other, ok := theirs[r.Kind+" "+r.Key]
		delete(theirs, r.Kind+" "+r.Key)
		if !ok && !strings.HasPrefix(r.Key, capture.HiddenPrefix) {
			odd = append(odd, fmt.Sprintf("only the first: %s %s %v", r.Kind, r.Key, r.Attrs))
		}
		if d := differences(r, other); ok && len(d) > 0 {
			odd = append(odd, fmt.Sprintf("%s %s: %q", r.Kind, r.Key, d))
		}
	}
	for _, r := range theirs {
		if !strings.HasPrefix(r.Key, capture.HiddenPrefix) {
			odd = append(odd, fmt.Sprintf("only the second: %s %s %v", r.Kind, r.Key, r.Attrs))
		}
	}
	slices.Sort(odd)
	for i, o := range odd {
		if i == 40 {
			g.t.Errorf("%d more", len(odd)-i)
			break
		}
		g.t.Error(o)
	}
}

func differences(a, b capture.Record) []string {
	var out []string
	names := map[string]bool{}
	for _, attrs := range []map[string]string{a.Attrs, b.Attrs} {
		for k := range attrs {
			names[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if only := k == "md5" || k == "sums"; a.Attrs[k] != b.Attrs[k] && !only && !slices.Contains(passing(a), k) { // the host alone has those
			out = append(out, fmt.Sprintf("%s: %.80s | %.80s", k, a.Attrs[k], b.Attrs[k]))
		}
	}
	return out
}
