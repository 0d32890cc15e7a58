package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assay/guest"
	"assay/guest/guesttest"

	"golang.org/x/sys/unix"
)

// must skips a test whose need this host lacks, or fails it where
// ASSAY_MUST_RUN names the agent.
func must(t testing.TB, ok bool, need string) {
	t.Helper()
	switch {
	case ok:
	case slices.Contains(strings.Split(os.Getenv("ASSAY_MUST_RUN"), ","), "agent"):
		t.Fatalf("needs %s", need)
	default:
		t.Skipf("needs %s", need)
	}
}

// cgroupRoot makes a cgroup for a test, or returns "" where there can be none.
func cgroupRoot(t testing.TB) string {
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[2] != "cgroup2" {
			continue
		}
		dir, err := os.MkdirTemp(f[1], "assay-test-")
		if err != nil {
			return ""
		}
		t.Cleanup(func() {
			os.WriteFile(dir+"/cgroup.kill", []byte("1"), 0)
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err == nil && d.IsDir() {
						unix.Rmdir(path)
					}
					return nil
				})
				if unix.Rmdir(dir) == unix.ENOENT {
					return
				}
			}
		})
		return dir
	}
	return ""
}

// agents runs a test against a real agent, with cgroups and without.
func agents(t *testing.T, test func(t *testing.T, c *guest.Client)) {
	t.Run("session", func(t *testing.T) { test(t, guesttest.Process(t, "")) })
	t.Run("cgroup", func(t *testing.T) {
		dir := cgroupRoot(t)
		must(t, dir != "", "root and a cgroup v2 that can be written to")
		test(t, guesttest.Process(t, dir))
	})
}

func sh(line string) guest.Command { return guest.Command{Shell: line, User: "", Dir: "/"} }

// output runs a line and returns what it printed.
func output(t testing.TB, c *guest.Client, cmd guest.Command) string {
	t.Helper()
	var out, errs bytes.Buffer
	exit, err := c.Exec(limit(t), cmd, nil, &out, &errs)
	if err != nil || exit.Code != 0 {
		t.Fatalf("%v: got %+v, %v, %s", cmd, exit, err, &errs)
	}
	return out.String()
}

func TestExec(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		var out, errs bytes.Buffer
		exit, err := c.Exec(limit(t), sh("cat; echo oops >&2; exit 3"), strings.NewReader("in\n"), &out, &errs)
		if err != nil || exit.Code != 3 || exit.Signal != "" || exit.TimedOut || len(exit.Orphans) != 0 {
			t.Errorf("got %+v, %v, want code 3", exit, err)
		}
		if out.String() != "in\n" || errs.String() != "oops\n" {
			t.Errorf("got %q and %q", &out, &errs)
		}
		if exit.Duration <= 0 || exit.CPU <= 0 {
			t.Errorf("got no figures: %+v", exit)
		}
		exit, err = c.Exec(limit(t), sh("kill -TERM $$"), nil, nil, nil)
		if err != nil || exit.Code != -1 || exit.Signal != "SIGTERM" {
			t.Errorf("got %+v, %v, want SIGTERM", exit, err)
		}
		if got := output(t, c, guest.Command{Argv: []string{"printf", "%s|", "a b", "", "$HOME"}}); got != "a b||$HOME|" {
			t.Errorf("argv: got %q", got)
		}
	})
}

func TestExecRefuses(t *testing.T) {
	c := guesttest.Process(t, "")
	for _, tt := range []struct {
		cmd  guest.Command
		kind error
		text string
	}{
		{guest.Command{Argv: []string{"no-such-program"}}, fs.ErrNotExist, "no such program"},
		{guest.Command{Argv: []string{"/no/such/program"}}, fs.ErrNotExist, "/no/such/program"},
		{guest.Command{Shell: "true", Dir: "/no/such/dir"}, fs.ErrNotExist, "/no/such/dir"},
		{guest.Command{Shell: "true", Dir: "/etc/passwd"}, nil, "want a folder"},
		{guest.Command{Shell: "true", User: "no-such-user"}, fs.ErrNotExist, "no-such-user"},
		{guest.Command{Shell: "true", Dir: "relative"}, nil, "begins with /"},
		{guest.Command{}, nil, "got no command"},
		{guest.Command{Shell: "true", Argv: []string{"true"}}, nil, "or two"},
		{guest.Command{Argv: []string{"/etc/passwd"}}, fs.ErrPermission, ""},
	} {
		_, err := c.Exec(limit(t), tt.cmd, nil, nil, nil)
		if err == nil || tt.kind != nil && !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%+v: got %v, want %v with %q", tt.cmd, err, tt.kind, tt.text)
		}
	}
}

func TestExecEnvironment(t *testing.T) {
	t.Setenv("ASSAY_SECRET", "leaks")
	c := guesttest.Process(t, "")
	info, err := c.Info(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	env := guest.Command{Argv: []string{"env"}, Env: map[string]string{"A": "1", "LANG": "C"}}
	got := strings.Split(strings.TrimSpace(output(t, c, env)), "\n")
	slices.Sort(got)
	var names []string
	for _, kv := range got {
		name, _, _ := strings.Cut(kv, "=")
		names = append(names, name)
	}
	if want := "A HOME LANG LOGNAME PATH SHELL USER"; strings.Join(names, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if !slices.Contains(got, "HOME="+info.Home) || !slices.Contains(got, "USER="+info.User) || !slices.Contains(got, "LANG=C") {
		t.Errorf("got %v", got)
	}
	if got := output(t, c, guest.Command{Shell: "pwd -P; ls /proc/self/fd | wc -l"}); !strings.HasSuffix(got, "\n4\n") {
		t.Errorf("got %q, want 4 descriptors: ls's own folder and the three streams", got)
	}
}

func TestExecAsAnotherUser(t *testing.T) {
	must(t, os.Getuid() == 0, "root")
	c := guesttest.Process(t, "")
	got := output(t, c, guest.Command{Shell: "id -un; id -u; echo $HOME; cd; cat /proc/self/oom_score_adj", User: "daemon"})
	if want := "daemon\n1\n/usr/sbin\n0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExecManyAtOnce(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		// Each of the eight waits for all the others.
		dir := t.TempDir()
		os.Chmod(dir, 0o777)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				line := fmt.Sprintf("cat; : > %s/%d; while [ $(ls %s | wc -l) -lt 8 ]; do sleep .01; done; exit %d", dir, i, dir, i)
				var out bytes.Buffer
				exit, err := c.Exec(limit(t), sh(line), strings.NewReader(strconv.Itoa(i)), &out, nil)
				if err != nil || exit.Code != i || out.String() != strconv.Itoa(i) {
					t.Errorf("%d: got %+v, %q, %v", i, exit, &out, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestExecBigOutput(t *testing.T) {
	c := guesttest.Process(t, "")
	var n, m counter
	exit, err := c.Exec(limit(t), sh("head -c 50000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait"), nil, &n, &m)
	if err != nil || exit.Code != 0 || n != 50_000_000 || m != 20_000_000 {
		t.Errorf("got %d and %d bytes, %+v, %v", n, m, exit, err)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func TestExecEndlessInputIsNotWaitedFor(t *testing.T) {
	c := guesttest.Process(t, "")
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	if exit, err := c.Exec(limit(t), sh("head -c 10 >/dev/null"), zero, nil, nil); err != nil || exit.Code != 0 {
		t.Errorf("got %+v, %v", exit, err)
	}
	r, _ := io.Pipe() // never answers
	if exit, err := c.Exec(limit(t), sh("true"), r, nil, nil); err != nil || exit.Code != 0 {
		t.Errorf("got %+v, %v", exit, err)
	}
}

// alive reports whether a process lives; a zombie does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func waitDead(t *testing.T, pids []int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(pids, alive) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("of %v some are alive", pids)
		}
	}
}

// tree starts a shell, a child, and a grandchild in a session of its own; all
// print their process ids.
const tree = `echo $$; sleep 1000 & echo $!; setsid sh -c 'echo $$; sleep 1000 & echo $!; wait' & wait`

// pids collects four process ids as they are printed.
type pids struct {
	mu   sync.Mutex
	text string
	all  chan struct{}
}

func (p *pids) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text += string(b)
	if strings.Count(p.text, "\n") == 4 {
		close(p.all)
	}
	return len(b), nil
}

func (p *pids) list(t *testing.T) []int {
	var list []int
	for f := range strings.FieldsSeq(p.text) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, pid)
	}
	return list
}

func TestExecCancelKillsTheTree(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		ctx, cancel := context.WithCancel(limit(t))
		out := &pids{all: make(chan struct{})}
		go func() {
			<-out.all
			cancel()
		}()
		if _, err := c.Exec(ctx, sh(tree), nil, out, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		waitDead(t, out.list(t))
	})
}

func TestExecTimeoutKillsTheTree(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		cmd := sh(tree)
		cmd.Timeout = 2 * time.Second
		out := &pids{all: make(chan struct{})}
		exit, err := c.Exec(limit(t), cmd, nil, out, nil)
		if err != nil || !exit.TimedOut || exit.Code != -1 || exit.Signal != "SIGKILL" || exit.Duration < cmd.Timeout {
			t.Errorf("got %+v, %v, want a timeout", exit, err)
		}
		if len(exit.Orphans) != 0 {
			t.Errorf("got orphans %v", exit.Orphans)
		}
		waitDead(t, out.list(t))
	})
}

// TestExecExpires proves that the host's count ends a command as its own
// time-out would: with all that it printed, and a result.
func TestExecExpires(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		if info, err := c.Info(limit(t)); err != nil || !info.Expires {
			t.Errorf("got %+v, %v, want an agent that knows", info, err)
		}
		cmd, out := sh(tree), &pids{all: make(chan struct{})}
		cmd.Timeout, cmd.Expire = time.Hour, out.all
		exit, err := c.Exec(limit(t), cmd, nil, out, nil)
		if err != nil || !exit.TimedOut || exit.Code != -1 || exit.Signal != "SIGKILL" || exit.CPU == 0 {
			t.Errorf("got %+v, %v, want a timeout", exit, err)
		}
		waitDead(t, out.list(t))
		if err := c.Ping(limit(t)); err != nil {
			t.Errorf("the line afterwards: %v", err)
		}
	})
}

// TestExecExpiresLate proves that a time that is up after the end does no harm.
func TestExecExpiresLate(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		over := make(chan struct{})
		close(over)
		for range 20 {
			if _, err := c.Exec(limit(t), guest.Command{Argv: []string{"true"}, Expire: over}, nil, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestExecDisconnectKillsTheTree(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		out := &pids{all: make(chan struct{})}
		go func() {
			<-out.all
			c.Close()
		}()
		line := (*guest.LineError)(nil)
		if _, err := c.Exec(limit(t), sh(tree), nil, out, nil); !errors.As(err, &line) {
			t.Errorf("got %v, want a LineError", err)
		}
		waitDead(t, out.list(t))
	})
}

func TestExecOrphans(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		var out bytes.Buffer
		begin := time.Now()
		exit, err := c.Exec(limit(t), sh("sleep 1001 & echo $!; printf whole"), nil, &out, nil)
		if err != nil || exit.Code != 0 {
			t.Fatalf("got %+v, %v", exit, err)
		}
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("it took %v: the orphan was waited for", d)
		}
		pid, _ := strconv.Atoi(strings.Fields(out.String())[0])
		t.Cleanup(func() { unix.Kill(pid, unix.SIGKILL) })
		if !strings.HasSuffix(out.String(), "\nwhole") {
			t.Errorf("got output %q", &out)
		}
		if len(exit.Orphans) != 1 || exit.Orphans[0].PID != pid || exit.Orphans[0].Command != "sleep 1001" || exit.Orphans[0].User == "" {
			t.Fatalf("got orphans %+v, want sleep 1001 as %d", exit.Orphans, pid)
		}
		if !alive(pid) {
			t.Error("the orphan was killed")
		}
	})
}

// TestExecTakesWhatLiesInThePipe: a slow reader gets all that a command printed,
// though an orphan keeps the pipe open.
func TestExecTakesWhatLiesInThePipe(t *testing.T) {
	c := guesttest.Process(t, "")
	slow := blocked{make(chan struct{})}
	time.AfterFunc(500*time.Millisecond, func() { close(slow.open) })
	var n counter
	out := writerFunc(func(p []byte) (int, error) {
		n += counter(len(p))
		return slow.Write(p)
	})
	exit, err := c.Exec(limit(t), sh("sleep 1003 & head -c 580000 /dev/zero"), nil, out, nil)
	for _, o := range exit.Orphans {
		unix.Kill(o.PID, unix.SIGKILL)
	}
	if err != nil || len(exit.Orphans) != 1 || n != 580_000 {
		t.Errorf("got %d bytes, %+v, %v", n, exit, err)
	}
}

// TestExecShortLivedChild: what outlives the command by a moment is no orphan,
// and its output still arrives.
func TestExecShortLivedChild(t *testing.T) {
	agents(t, func(t *testing.T, c *guest.Client) {
		var out bytes.Buffer
		exit, err := c.Exec(limit(t), sh("(i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo late) & echo early"), nil, &out, nil)
		if err != nil || len(exit.Orphans) != 0 || out.String() != "early\nlate\n" {
			t.Errorf("got %+v, %v, %q", exit, err, &out)
		}
	})
}

// TestExecDaemon: one that has left the session is found by its cgroup alone.
func TestExecDaemon(t *testing.T) {
	dir := cgroupRoot(t)
	must(t, dir != "", "root and a cgroup v2 that can be written to")
	c := guesttest.Process(t, dir)
	exit, err := c.Exec(limit(t), sh("setsid -f setsid -f sleep 1002 >/dev/null 2>&1 </dev/null"), nil, nil, nil)
	if err != nil || len(exit.Orphans) != 1 || exit.Orphans[0].Command != "sleep 1002" {
		t.Fatalf("got %+v, %v, want one orphan", exit, err)
	}
	unix.Kill(exit.Orphans[0].PID, unix.SIGKILL)
	waitDead(t, []int{exit.Orphans[0].PID})
	output(t, c, sh("true")) // after it the cgroups that have emptied are removed
	waitFor(t, "the orphan's cgroup to go", func() bool {
		_, err := os.Stat(dir + "/exec-1")
		return errors.Is(err, fs.ErrNotExist)
	})
}

// TestManyCgroups: more commands at once than cgroups lie ready each have one of
// their own, and what is left afterwards is what lies ready.
func TestManyCgroups(t *testing.T) {
	dir := cgroupRoot(t)
	must(t, dir != "", "root and a cgroup v2 that can be written to")
	c := guesttest.Process(t, dir)
	const n = 40
	seen := make(chan string, n)
	for range n {
		go func() {
			var out bytes.Buffer
			_, err := c.Exec(limit(t), sh("cat /proc/self/cgroup; sleep 0.2"), nil, &out, nil)
			if err != nil {
				t.Error(err)
			}
			seen <- out.String()
		}()
	}
	groups := map[string]bool{}
	for range n {
		groups[<-seen] = true
	}
	if len(groups) != n {
		t.Errorf("got %d cgroups for %d commands", len(groups), n)
	}
	waitFor(t, "the used cgroups to go", func() bool {
		left, err := filepath.Glob(dir + "/exec-*")
		return err == nil && len(left) > 0 && len(left) <= 8
	})
}

// waitFor polls until ok.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestTerminal(t *testing.T) {
	c := guesttest.Process(t, "")
	sizes := make(chan guest.Size, 1)
	in, type_ := io.Pipe()
	var out bytes.Buffer
	var mu sync.Mutex
	write := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		out.Write(p)
		if strings.Contains(out.String(), "ready") && sizes != nil {
			sizes <- guest.Size{Rows: 50, Cols: 132}
			sizes = nil
			go io.WriteString(type_, "hello\n")
		}
		return len(p), nil
	})
	cmd := guest.Command{Shell: `tty; stty size; echo ready; read line; while [ "$(stty size)" = "30 90" ]; do sleep .01; done; stty size; echo got $line`,
		TTY: &guest.Size{Rows: 30, Cols: 90}}
	exit, err := c.Terminal(limit(t), cmd, in, write, sizes)
	got := out.String()
	if err != nil || exit.Code != 0 || !strings.Contains(got, "/dev/pts/") || !strings.Contains(got, "30 90") ||
		!strings.Contains(got, "50 132") || !strings.Contains(got, "got hello") {
		t.Errorf("got %+v, %v, %q", exit, err, got)
	}
}
