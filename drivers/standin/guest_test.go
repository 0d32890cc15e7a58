package standin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/drivers/internal/cli"
	"assay/drivers/standin"
	"assay/guest"
	"assay/seed"
)

// inside runs commands of one guest through a stand-in executable.
type inside struct{ tool cli.Tool }

func (i inside) Exec(ctx context.Context, argv []string, stdin io.Reader) ([]byte, error) {
	r, err := i.tool.Do(ctx, cli.Call{Args: append([]string{"exec", "one", "sudo"}, argv...), Stdin: stdin})
	return r.Stdout, err
}

// execHost returns a host whose one command is "exec GUEST …", and a guest that
// runs, with a user of its image's own.
func execHost(t *testing.T) (*standin.Guest, cli.Tool) {
	t.Helper()
	h := standin.New(t, "hyper", func(c *standin.Call) int {
		g := c.Host.Guest(c.Args[1])
		if g == nil {
			return c.Fail(2, "no guest %q", c.Args[1])
		}
		return g.Exec(c, c.Args[2:], standin.ExecOptions{User: "debian"})
	})
	g, err := h.Create("one", standin.Size{})
	if err == nil {
		err = g.AddUser("debian", true)
	}
	if err == nil {
		err = g.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return g, cli.Tool{Name: "hyper"}
}

// dialled connects to the agent on a line.
func dialled(t *testing.T, conn net.Conn, err error) (context.Context, *guest.Client) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c, err := guest.Connect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return ctx, c
}

func out(t *testing.T, ctx context.Context, c *guest.Client, line string) string {
	t.Helper()
	var b bytes.Buffer
	exit, err := c.Exec(ctx, guest.Command{Shell: line}, nil, &b, &b)
	if err != nil || exit.Code != 0 {
		t.Fatalf("%s: got %+v, %v, %s", line, exit, err, b.String())
	}
	return strings.TrimSpace(b.String())
}

// TestEnterAndLeave proves that the guests are real enough for what drivers do
// with them: the agent goes in, answers, and leaves no trace.
func TestEnterAndLeave(t *testing.T) {
	g, tool := execHost(t)
	before, err := g.Read("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if err := cli.Enter(t.Context(), inside{tool}, standin.AgentProgram); err != nil {
		t.Fatal(err)
	}
	conn, err := tool.Stream(t.Context(), "exec", "one", "sudo", cli.AgentPath, "stdio")
	ctx, c := dialled(t, conn, err)
	if got := out(t, ctx, c, "whoami; sudo whoami"); got != "tester\nroot" {
		t.Errorf("got %q, want tester and root", got)
	}
	c.Close()
	if err := cli.Leave(t.Context(), inside{tool}); err != nil {
		t.Fatal(err)
	}
	if after, err := g.Read("/etc/passwd"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("accounts: got %q, %v; want %q", after, err, before)
	}
	for _, path := range []string{cli.AgentPath, "/etc/sudoers.d/tester"} {
		if data, err := g.Read(path); err == nil {
			t.Errorf("%s is left: %q", path, data)
		}
	}
}

// TestAgentOfAnotherProcessor proves that only the right program runs, and only
// as root.
func TestAgentOfAnotherProcessor(t *testing.T) {
	g, tool := execHost(t)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for arch, want := range map[string]string{other: "Exec format error", runtime.GOARCH: "got user debian, want root"} {
		program, err := standin.AgentProgram(arch)
		if err == nil {
			err = g.Write(cli.AgentPath, program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tool.Run(t.Context(), "exec", "one", cli.AgentPath, "stdio"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", arch, err, want)
		}
	}
}

// TestSeedDisk proves that a seed disk brings the agent at boot and that its
// service answers on the hypervisor's channel, again after a restart.
func TestSeedDisk(t *testing.T) {
	h := standin.New(t, "hyper", func(*standin.Call) int { return 0 })
	g, err := h.Create("one", standin.Size{})
	if err != nil {
		t.Fatal(err)
	}
	program, _ := standin.AgentProgram(runtime.GOARCH)
	iso := filepath.Join(t.TempDir(), "seed.iso")
	err = seed.Write(iso, seed.Options{Agent: program, ID: "x", Hostname: "named", Line: "serial:/dev/ttyS1", SSHKey: "ssh-ed25519 AAAA me", Password: "secret"})
	if err == nil {
		err = g.Seed(iso)
	}
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "line")
	for _, boot := range []string{"first", "second"} {
		if err := g.Start(); err != nil {
			t.Fatal(err)
		}
		if err := g.Listen(socket); err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", socket)
		ctx, c := dialled(t, conn, err)
		if got := out(t, ctx, c, "whoami; sudo cat /home/tester/.ssh/authorized_keys"); got != "tester\nssh-ed25519 AAAA me" {
			t.Errorf("%s boot: got %q, want tester and the key", boot, got)
		}
		if args, ok := g.Listens(); !ok || args != "port /dev/ttyS1" {
			t.Errorf("%s boot: the service runs with %q, %v; want port /dev/ttyS1", boot, args, ok)
		}
		if err := g.Shutdown(); err != nil {
			t.Error(err)
		}
		select {
		case <-c.Done():
		case <-ctx.Done():
			t.Errorf("%s boot: the line outlives the power", boot)
		}
	}
	if log, err := g.Read("/var/log/cloud-init-output.log"); err == nil {
		t.Errorf("cloud-init complains: %s", log)
	}
	if !g.Login("tester", "secret") || g.Login("tester", "") || g.Login("root", "secret") {
		t.Errorf("want the password to fit tester, and nothing else")
	}
}

// TestPower proves what each way to stop keeps: the disk always, as far as it was
// flushed, and memory only in a snapshot that has it.
func TestPower(t *testing.T) {
	g, tool := execHost(t)
	run := func(line string) string {
		t.Helper()
		r, err := tool.Run(t.Context(), "exec", "one", "sudo", "sh", "-c", line)
		if err != nil {
			t.Fatal(err)
		}
		return r.Text()
	}
	look := "cat /srv/disk; cat /run/memory /tmp/memory 2>/dev/null; pgrep -f 'sleep 1000' >/dev/null && echo sleeps; true"
	run("echo one >/srv/disk; echo run >/run/memory; echo tmp >/tmp/memory; nohup sleep 1000 >/dev/null 2>&1 & sync")
	boot := run("cat /proc/sys/kernel/random/boot_id")
	if err := g.Snapshot("with", true); err != nil {
		t.Fatal(err)
	}
	if err := g.Snapshot("without", false); err != nil {
		t.Fatal(err)
	}
	run("echo two >/srv/disk; sync; echo lost >/srv/disk")
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := tool.Run(t.Context(), "exec", "one", "true"); err == nil || !strings.Contains(err.Error(), "off") {
		t.Errorf("exec in a guest that is off: got %v", err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if got := run(look); got != "two" {
		t.Errorf("after a restart: got %q, want the disk only", got)
	}
	if got := run("cat /proc/sys/kernel/random/boot_id"); got == boot {
		t.Errorf("two boots have one id")
	}
	if err := g.Restore("with"); err != nil || !g.Running() {
		t.Fatalf("restore with memory: got %v, running %v", err, g.Running())
	}
	if got := run(look); got != "one\nrun\ntmp\nsleeps" {
		t.Errorf("with memory: got %q, want everything", got)
	}
	if err := g.Restore("without"); err != nil || g.Running() {
		t.Fatalf("restore without memory: got %v, running %v; want it off", err, g.Running())
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if got := run(look); got != "one" {
		t.Errorf("without memory: got %q, want the disk only", got)
	}
	run("echo three >/srv/disk")
	if err := errors.Join(g.Shutdown(), g.Start()); err != nil {
		t.Fatal(err)
	}
	if got := run(look); got != "three" {
		t.Errorf("after a shutdown: got %q, want what was written", got)
	}
}

// TestSnapshotTree proves how snapshots descend from one another, and that a
// clone shares nothing.
func TestSnapshotTree(t *testing.T) {
	h := standin.New(t, "hyper", func(*standin.Call) int { return 0 })
	g, err := h.Create("one", standin.Size{})
	if err != nil {
		t.Fatal(err)
	}
	take := func(name string) {
		t.Helper()
		if err := g.Snapshot(name, true); err != nil {
			t.Fatal(err)
		}
	}
	take("a")
	take("b")
	if err := g.Restore("a"); err != nil {
		t.Fatal(err)
	}
	take("c")
	if err := g.DeleteSnapshot("a"); err != nil {
		t.Fatal(err)
	}
	var tree []string
	for _, s := range g.Snapshots() {
		tree = append(tree, s.Parent+"/"+s.Name)
	}
	if want := []string{"/b", "/c"}; !slices.Equal(tree, want) || g.Current() != "c" {
		t.Errorf("got %q at %q, want %q at c", tree, g.Current(), want)
	}
	if err := g.Write("/srv/f", []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	twin, err := g.Clone("two", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Write("/srv/f", []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := twin.Read("/srv/f"); err != nil || string(data) != "one" {
		t.Errorf("the clone: got %q, %v; want one", data, err)
	}
	if _, err := h.Create("two", standin.Size{}); err == nil {
		t.Errorf("a name can be taken twice")
	}
	twin.Delete()
	if names := h.Guests(); len(names) != 1 || names[0] != g {
		t.Errorf("got %d guests, want one", len(names))
	}
}

// TestPausedGuestWaits proves that nothing gets through to a guest that is paused.
func TestPausedGuestWaits(t *testing.T) {
	g, tool := execHost(t)
	if err := g.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if r, err := tool.Run(ctx, "exec", "one", "true"); err == nil {
		t.Errorf("a paused guest runs a command: %+v", r)
	}
	if err := g.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := tool.Run(t.Context(), "exec", "one", "true"); err != nil {
		t.Error(err)
	}
}

// TestNotInstalled proves that an executable can be taken away.
func TestNotInstalled(t *testing.T) {
	h := standin.New(t, "hyper", func(*standin.Call) int { return 0 })
	if _, err := exec.LookPath("hyper"); err != nil {
		t.Fatal(err)
	}
	h.Remove("hyper")
	if path, err := exec.LookPath("hyper"); err == nil {
		t.Errorf("got %s, want nothing", path)
	}
}
