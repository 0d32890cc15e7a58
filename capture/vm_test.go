//go:build linux

package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay"
	"assay/capture"
	"assay/drivers/qemu"
	"assay/guest"
	"assay/images"
	"assay/vm"
)

// A real guest is captured, changed and captured again: the diff says exactly
// what was done to it, and an idle guest has no diff at all.
func TestRealGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	g := launch(ctx, t)

	first := g.take(nil)
	t.Logf("first capture: %d records, problems %q", len(first.Records), first.Problems)
	second := g.take(nil)
	g.same("an idle guest, digests remembered", first, second)
	manifest := filepath.Join(t.TempDir(), "manifest")
	must(t, capture.WriteManifest(manifest, second))
	known, err := capture.ReadManifest(manifest)
	must(t, err)
	before := g.take(known)
	g.same("an idle guest, with a manifest", second, before)

	g.run("sudo apt-get install -y jq")
	g.run("echo '*/5 * * * * root echo hi' | sudo tee /etc/cron.d/extra")
	g.run("sudo useradd -M mallory")
	g.run("echo 'export FOO=1' | sudo tee -a /etc/profile")
	g.run("printf '[Service]\\nExecStart=/bin/sleep 999\\n[Install]\\nWantedBy=multi-user.target\\n' | sudo tee /etc/systemd/system/extra.service")
	g.run("sudo systemctl enable --now extra.service")
	g.run("setsid sleep 1234 >/dev/null 2>&1 </dev/null &")
	g.run("for i in 1 2 3; do echo x > /tmp/skill-temp-$i.log; done")
	g.run("sudo sysctl -w vm.swappiness=7 && sudo touch /etc/hostname && sudo rm /etc/crontab")
	g.run("python3 -c 'import socket,time; s=socket.socket(); s.bind((\"127.0.0.1\",8099)); s.listen(); time.sleep(999)' >/dev/null 2>&1 </dev/null & sleep 2")

	changes, _, err := capture.Diff(before, g.take(known), capture.DiffOptions{})
	must(t, err)
	var got []string
	for _, c := range changes {
		if c.Group == "" {
			got = append(got, string(c.Op)+" "+c.Kind+" "+c.Key)
		}
	}
	want := strings.Split(strings.TrimSpace(done), "\n")
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool {
			return g == w || strings.HasPrefix(w, "removed cron") && strings.HasPrefix(g, "removed cron /etc/crontab: ")
		}) {
			t.Errorf("not seen: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) && !strings.HasPrefix(g, "removed cron /etc/crontab: ") {
			t.Errorf("seen, but nobody did it: %s", g)
		}
	}
	i := slices.IndexFunc(changes, func(c assay.Change) bool { return c.Kind == capture.File && c.Key == "/etc/profile" })
	if i < 0 || !strings.Contains(changes[i].Text, "+export FOO=1\n") {
		t.Error("no text diff of /etc/profile")
	}
	for _, l := range capture.Fold(changes) {
		t.Logf("%-8s %-11s %s", l.Op, l.Kind, l.Text)
	}
	g.compareUnits()
}

// done is what TestRealGuest does to its guest, as changes.
const done = `
added cron /etc/cron.d/extra: */5 * * * * root echo hi
removed cron /etc/crontab: 17 * * * * root cd / && run-parts --report /etc/cron.hourly
modified environment /etc/profile
added file /etc/cron.d/extra
removed file /etc/crontab
modified file /etc/group
added file /etc/group-
modified file /etc/gshadow
added file /etc/gshadow-
modified file /etc/passwd
added file /etc/passwd-
modified file /etc/profile
modified file /etc/shadow
added file /etc/shadow-
modified file /etc/subgid
added file /etc/subgid-
modified file /etc/subuid
added file /etc/subuid-
added file /etc/systemd/system/extra.service
added file /etc/systemd/system/multi-user.target.wants/extra.service
added file /tmp/skill-temp-1.log
added file /tmp/skill-temp-2.log
added file /tmp/skill-temp-3.log
added group mallory
added listener tcp 127.0.0.1:8099
added package dpkg:jq
added package dpkg:libjq1
added package dpkg:libonig5
added process root: /bin/sleep 999
added process tester: python3 -c import socket,time; s=socket.socket(); s.bind(("127.0.0.1",8099)); s.listen(); time.sleep(999)
added process tester: sleep 1234
modified sysctl vm.swappiness
added unit extra.service
added user mallory`

// machine is a booted guest with this tree's agent in it.
type machine struct {
	t   *testing.T
	ctx context.Context
	m   vm.Machine
	c   *guest.Client
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// image returns the Debian 12 image of this host, or skips.
func image(t *testing.T) vm.Image {
	home := os.Getenv("ASSAY_HOME")
	if home == "" {
		home = filepath.Join(os.Getenv("HOME"), ".local/share/assay")
	}
	store, err := images.Open(filepath.Join(home, "images"))
	must(t, err)
	img, err := store.Resolve("debian-12")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "qemu") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return img
}

func launch(ctx context.Context, t *testing.T) *machine {
	img := image(t)
	agent := filepath.Join(t.TempDir(), "agent")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "assay/cmd/assay-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "cap")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m, err := qemu.New(qemu.Config{NoTemplates: true}).Launch(ctx, vm.Spec{Name: "capture", Owner: "capture-test", Dir: dir, Image: img, CPUs: 2, Memory: 512 << 20, Cold: true})
	must(t, err)
	t.Cleanup(func() { m.Close() })
	g := &machine{t: t, ctx: ctx, m: m}
	g.dial()
	g.replaceAgent(agent)
	return g
}

func (g *machine) dial() {
	conn, err := g.m.Dial(g.ctx)
	must(g.t, err)
	g.c, err = guest.Connect(g.ctx, conn)
	must(g.t, err)
	g.t.Cleanup(func() { g.c.Close() })
}

// replaceAgent puts this tree's agent into the guest and waits until it answers.
func (g *machine) replaceAgent(file string) {
	data, err := os.ReadFile(file)
	must(g.t, err)
	must(g.t, g.c.WriteFile(g.ctx, "/usr/lib/assay/agent.new", data, 0o755, "root"))
	old, err := g.agentPID(g.ctx)
	must(g.t, err)
	g.run("sudo mv /usr/lib/assay/agent.new /usr/lib/assay/assay-agent && sudo systemd-run --no-block --on-active=3 systemctl restart assay-agent")
	g.c.Close()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		time.Sleep(5 * time.Second) // the restart cuts whatever call it meets
		ctx, cancel := context.WithTimeout(g.ctx, 30*time.Second)
		pid, err := g.tryAgain(ctx)
		cancel()
		if err == nil && pid != old {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the new agent does not answer: pid %q, was %q: %v", pid, old, err)
		}
	}
}

// tryAgain dials and asks for the agent's process id.
func (g *machine) tryAgain(ctx context.Context) (string, error) {
	conn, err := g.m.Dial(ctx)
	if err != nil {
		return "", err
	}
	if g.c, err = guest.Connect(ctx, conn); err != nil {
		return "", err
	}
	return g.agentPID(ctx)
}

// agentPID is what systemd says, without what a preloaded library that is missing
// has every program say.
func (g *machine) agentPID(ctx context.Context) (string, error) {
	var out bytes.Buffer
	_, err := g.c.Exec(ctx, guest.Command{Shell: "systemctl show -p ExecMainPID --value assay-agent"}, nil, &out, nil)
	return out.String(), err
}

func (g *machine) output(line string) string {
	g.t.Helper()
	var out bytes.Buffer
	exit, err := g.c.Exec(g.ctx, guest.Command{Shell: line, User: "tester"}, nil, &out, &out)
	if err != nil || exit.Code != 0 {
		g.t.Fatalf("%s: exit code %d, %v: %s", line, exit.Code, err, out.String())
	}
	return out.String()
}

func (g *machine) run(line string) {
	g.t.Helper()
	start := time.Now()
	g.output(line)
	g.t.Logf("%5.1f s  %s", time.Since(start).Seconds(), line)
}

func (g *machine) take(known *capture.Manifest) capture.Capture {
	g.t.Helper()
	start := time.Now()
	c, err := capture.Take(g.ctx, g.c, capture.Options{Known: known})
	must(g.t, err)
	g.t.Logf("%5.1f s  capture of %d records, manifest: %v", time.Since(start).Seconds(), len(c.Records), known != nil)
	return c
}

func (g *machine) same(what string, a, b capture.Capture) {
	g.t.Helper()
	changes, _, err := capture.Diff(a, b, capture.DiffOptions{})
	must(g.t, err)
	for _, c := range changes {
		g.t.Errorf("%s: %s %s %s %v", what, c.Op, c.Kind, c.Key, c.Fields)
	}
}

// compareUnits asks systemd itself what is enabled: the collector reads the
// folders, and must come to the same. States of a unit that exists only while it
// runs, and of links that systemd counts otherwise, are left to systemd.
func (g *machine) compareUnits() {
	c, err := capture.Take(g.ctx, g.c, capture.Options{Only: []string{"units"}})
	must(g.t, err)
	ours := map[string]string{}
	for _, r := range c.Records {
		ours[r.Key] = r.Attrs["enabled"]
	}
	n := 0
	for l := range strings.Lines(g.output("systemctl list-unit-files --full --no-legend --type=service,timer,socket,path")) {
		f := strings.Fields(l)
		if len(f) < 2 || slices.Contains([]string{"transient", "indirect", "linked", "enabled-runtime"}, f[1]) {
			continue
		}
		n++
		if got := ours[capture.Escape(f[0])]; got != f[1] {
			g.t.Errorf("unit %s: got %q, systemd says %s", f[0], got, f[1])
		}
	}
	if n < 50 {
		g.t.Errorf("compared %d units only", n)
	}
	fmt.Fprintf(g.t.Output(), "%d units compared\n", n)
}
