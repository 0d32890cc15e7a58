package drivertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"assay/guest"
	"assay/vm"
)

// rows is the suite. Each row has a fresh machine; their order means nothing.
var rows = []row{
	{"HonestCapabilities", "", honest},
	{"CardTellsTheTruth", "", card},
	{"Identity", "", identity},
	{"ExitCode", "", exitCode},
	{"Signal", "", signal},
	{"Stdin", "", stdin},
	{"BigOutput", "", bigOutput},
	{"ManyAtOnce", "", manyAtOnce},
	{"DeadlineKills", "", deadlineKills},
	{"PushPull", "", pushPull},
	{"PullMissing", "", pullMissing},
	{"Tree", "", tree},
	{"Unsupported", "", unsupported},
	{"CloseTwice", "", closeTwice},
	{"CancelMidLaunchLeavesNothing", "", cancelMidLaunch},
	{"SweepFindsOrphans", "", sweep},
	{"TwoMachinesDoNotMeet", "", twoMachines},
	{"LineRedial", "", redial},
	{"LineHandedOver", "", handedOver},
	{"TooLargeIsRefused", "", tooLarge},
	{"Restore", vm.CapSnapshot, restore},
	{"RestoreOfUnknown", vm.CapSnapshot, restoreUnknown},
	{"RestoreRestored", vm.CapSnapshot, restoreRestored},
	{"MemoryGoesOn", vm.CapMemory, memoryGoesOn},
	{"ForkTwice", vm.CapFork, forkTwice},
	{"ForkOfAFork", vm.CapFork, forkOfAFork},
	{"ForkOutlivesParent", vm.CapFork, forkOutlives},
	{"TwinsDiffer", vm.CapFork, twinsDiffer},
	{"ConsoleShowsBoot", vm.CapConsole, console},
	{"ScreenshotIsPNG", vm.CapScreenshot, screenshot},
	{"LinkGoesDownAndUp", vm.CapNetwork, link},
	{"SuspendResume", vm.CapSuspend, suspend},
	{"UsageTells", vm.CapUsage, usage},
	{"MarkFreezes", vm.CapDisk, mark},
	{"MarkAfterForkAndRestore", vm.CapDisk, markOfFork},
	{"Adopt", adopts, adopt},
	{"AdoptOfUnknown", adopts, adoptUnknown},
}

func honest(e *env) {
	if got := vm.Of(e.m); !slices.Equal(got, e.info.Capabilities) {
		e.Errorf("claims %v, has %v", e.info.Capabilities, got)
	}
}

// identity proves that machine and guest say who they are.
func identity(e *env) {
	info, err := e.c.Info(e.ctx)
	e.must(err)
	if e.m.ID() == "" || info.OS.ID == "" || info.Hostname == "" || info.User == "" || info.BootID == "" {
		e.Errorf("machine %q, guest %+v; want id, OS, hostname, user and boot id", e.m.ID(), info)
	}
}

func exitCode(e *env) {
	for line, want := range map[string]int{"true": 0, "false": 1, "exit 42": 42} {
		exit, err := e.c.Exec(e.ctx, guest.Command{Shell: line}, nil, nil, nil)
		if err != nil || exit.Code != want || exit.Signal != "" {
			e.Errorf("%s: got %d %q, %v; want %d", line, exit.Code, exit.Signal, err, want)
		}
	}
	if exit, err := e.c.Exec(e.ctx, guest.Command{Argv: []string{"no-such-program"}}, nil, nil, nil); err == nil {
		e.Errorf("a program that does not exist: got %+v, want an error", exit)
	}
}

func signal(e *env) {
	exit, err := e.c.Exec(e.ctx, guest.Command{Shell: "kill -KILL $$"}, nil, nil, nil)
	if err != nil || exit.Code != -1 || exit.Signal != "SIGKILL" {
		e.Errorf("got %d %q, %v; want -1 SIGKILL", exit.Code, exit.Signal, err)
	}
}

func stdin(e *env) {
	want := randomBytes(1 << 20)
	var got bytes.Buffer
	if _, err := e.c.Exec(e.ctx, guest.Command{Argv: []string{"cat"}}, bytes.NewReader(want), &got, nil); err != nil || !bytes.Equal(got.Bytes(), want) {
		e.Errorf("cat: got %d bytes, %v; want the %d that went in", got.Len(), err, len(want))
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func bigOutput(e *env) {
	const size = 8 << 20
	var out, complaint bytes.Buffer
	exit, err := e.c.Exec(e.ctx, guest.Command{Shell: fmt.Sprintf("head -c %d /dev/zero; echo done >&2", size)}, nil, &out, &complaint)
	if err != nil || exit.Code != 0 || out.Len() != size || complaint.String() != "done\n" {
		e.Errorf("got %d bytes and %q, exit %d, %v; want %d and done", out.Len(), complaint.String(), exit.Code, err, size)
	}
}

func manyAtOnce(e *env) {
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			var out bytes.Buffer
			want := fmt.Sprintf("%d\n", i)
			exit, err := e.c.Exec(e.ctx, guest.Command{Shell: "cat; exit 7"}, strings.NewReader(want), &out, nil)
			if err != nil || exit.Code != 7 || out.String() != want {
				e.Errorf("command %d: got %q, exit %d, %v; want %q and 7", i, out.String(), exit.Code, err, want)
			}
		})
	}
	wg.Wait()
}

// deadlineKills proves that nothing of a command survives its deadline: not the
// heart in the background either.
func deadlineKills(e *env) {
	exit := e.beatUntilKilled()
	first := e.sh(e.c, "wc -c </tmp/beat")
	time.Sleep(500 * time.Millisecond)
	if second := e.sh(e.c, "wc -c </tmp/beat"); first != second {
		e.Errorf("the heart beats on: %s, then %s bytes", strings.TrimSpace(first), strings.TrimSpace(second))
	}
	if len(exit.Orphans) > 0 {
		e.Errorf("orphans of a killed command: %v", exit.Orphans)
	}
}

// beatUntilKilled runs a command with a heart in the background into its deadline.
// Where the host is so busy that the heart did not begin, the deadline is longer.
func (e *env) beatUntilKilled() guest.Exit {
	e.Helper()
	for limit := time.Second; limit < time.Minute; limit *= 4 {
		start := time.Now()
		exit, err := e.c.Exec(e.ctx, guest.Command{
			Shell:   "(while true; do echo x >>/tmp/beat; sleep 0.1; done) & sleep 1000",
			Timeout: limit,
		}, nil, nil, nil)
		if err != nil || !exit.TimedOut {
			e.Fatalf("got %+v, %v; want a time-out", exit, err)
		}
		if took := time.Since(start); took > limit+30*time.Second {
			e.Errorf("a deadline of %v passed after %v", limit, took)
		}
		if e.sh(e.c, "test ! -s /tmp/beat || echo beats") != "" {
			return exit
		}
		e.Logf("the heart did not begin in %v", limit)
	}
	e.Fatalf("the command never began")
	return guest.Exit{}
}

func pushPull(e *env) {
	host := e.TempDir()
	for name, body := range map[string][]byte{"empty": {}, "a b ä": []byte("x"), "large": randomBytes(1 << 20)} {
		src, back := filepath.Join(host, name), filepath.Join(host, name+" back")
		e.must(os.WriteFile(src, body, 0o750))
		e.must(os.Chmod(src, 0o750))
		_, err := e.c.Push(e.ctx, src, "/tmp/into/"+name, guest.PushOptions{})
		e.must(err)
		_, err = e.c.Pull(e.ctx, "/tmp/into/"+name, back, guest.PullOptions{})
		e.must(err)
		got, err := os.ReadFile(back)
		e.must(err)
		st, err := os.Stat(back)
		e.must(err)
		if !bytes.Equal(got, body) || st.Mode().Perm() != 0o750 {
			e.Errorf("%s: got %d bytes, mode %v; want %d, 0750", name, len(got), st.Mode().Perm(), len(body))
		}
	}
}

func pullMissing(e *env) {
	_, err := e.c.Pull(e.ctx, "/no/such", filepath.Join(e.TempDir(), "x"), guest.PullOptions{})
	if !errors.Is(err, fs.ErrNotExist) {
		e.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// tree proves that folders, empty ones too, and links come back as they went.
func tree(e *env) {
	host := e.TempDir()
	src := filepath.Join(host, "skill")
	e.must(os.MkdirAll(filepath.Join(src, "sub", "empty"), 0o755))
	e.must(os.WriteFile(filepath.Join(src, "sub", "run.sh"), []byte("echo hi\n"), 0o755))
	e.must(os.Symlink("sub/run.sh", filepath.Join(src, "link")))
	_, err := e.c.Push(e.ctx, src, "/tmp/deep/er/", guest.PushOptions{})
	e.must(err)
	if out := e.sh(e.c, "/tmp/deep/er/skill/link"); out != "hi\n" {
		e.Errorf("the script through its link: got %q, want hi", out)
	}
	back := filepath.Join(host, "back")
	_, err = e.c.Pull(e.ctx, "/tmp/deep/er/skill", back, guest.PullOptions{})
	e.must(err)
	if target, err := os.Readlink(filepath.Join(back, "link")); err != nil || target != "sub/run.sh" {
		e.Errorf("link: got %q, %v; want sub/run.sh", target, err)
	}
	if st, err := os.Stat(filepath.Join(back, "sub", "empty")); err != nil || !st.IsDir() {
		e.Errorf("empty folder: %v", err)
	}
}

func unsupported(e *env) {
	type never interface{ Never(context.Context) }
	if _, err := vm.As[never](e.m); !errors.Is(err, errors.ErrUnsupported) {
		e.Errorf("got %v, want errors.ErrUnsupported", err)
	}
}

func closeTwice(e *env) {
	m := e.launch("second")
	e.must(m.Close())
	if err := m.Close(); err != nil {
		e.Errorf("second Close: got %v, want nil", err)
	}
	if conn, err := m.Dial(e.ctx); err == nil {
		conn.Close()
		e.Errorf("a closed machine can be dialled")
	}
	e.gone(filepath.Join(e.cfg.RunDir, e.owner, "second"))
}

// cancelMidLaunch cancels at the launch's first sign of life.
func cancelMidLaunch(e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	spec := e.spec("cancelled")
	spec.Owner += "-c"
	spec.Progress = func(string) { cancel() }
	timer := time.AfterFunc(300*time.Millisecond, cancel)
	defer timer.Stop()
	m, err := e.cfg.Driver.Launch(ctx, spec)
	if err == nil {
		e.Logf("the launch was over before it could be cancelled")
		e.must(m.Close())
	}
	e.gone(spec.Dir)
	if n, err := e.cfg.Driver.Sweep(e.ctx, spec.Owner); n != 0 || err != nil {
		e.Errorf("after a cancelled launch Sweep finds %d machines (%v), want 0", n, err)
	}
}

// sweep leaves a machine behind, as a dead run would.
func sweep(e *env) {
	spec := e.spec("orphan")
	spec.Owner += "-s"
	spec.Dir = filepath.Join(e.cfg.RunDir, spec.Owner, "orphan")
	e.must(os.MkdirAll(spec.Dir, 0o700))
	m, err := e.cfg.Driver.Launch(e.ctx, spec)
	e.must(err)
	e.closes(m)
	if n, err := e.cfg.Driver.Sweep(e.ctx, "dt-nobody"); n != 0 || err != nil {
		e.Errorf("a stranger's Sweep: got %d, %v; want 0", n, err)
	}
	if n, err := e.cfg.Driver.Sweep(e.ctx, spec.Owner); n != 1 || err != nil {
		e.Errorf("the owner's Sweep: got %d, %v; want 1", n, err)
	}
	if n, err := e.cfg.Driver.Sweep(e.ctx, spec.Owner); n != 0 || err != nil {
		e.Errorf("the second Sweep: got %d, %v; want 0", n, err)
	}
	e.gone(spec.Dir)
	e.sh(e.c, "true") // the machine of another owner lives on
}

func twoMachines(e *env) {
	other := e.launch("other")
	if other.ID() == e.m.ID() {
		e.Fatalf("two machines share the id %q", other.ID())
	}
	c := e.dial(other)
	e.sh(e.c, "echo one >/tmp/mark")
	if exit, err := c.Exec(e.ctx, guest.Command{Shell: "test -e /tmp/mark"}, nil, nil, nil); err != nil || exit.Code != 1 {
		e.Errorf("the other machine sees the file: exit %d, %v", exit.Code, err)
	}
}

// handedOver proves that a line that a driver hands over works, is handed over
// once, and is like any other: the guest has said on it who it is, and dialling
// cuts it.
func handedOver(e *env) {
	m := e.launch("greeted")
	g, err := vm.As[guest.Greeter](m)
	if err != nil {
		return // drivers need not
	}
	c := g.Greeted()
	if c == nil {
		return
	}
	e.Cleanup(func() { c.Close() })
	if info, told := c.Told(); !told || !strings.Contains(info.Hostname, "greeted") {
		e.Errorf("the guest told %+v, %v; want its new name", info, told)
	}
	e.sh(c, "true")
	if g.Greeted() != nil {
		e.Errorf("the line was handed over twice")
	}
	e.sh(e.dial(m), "true")
	select {
	case <-c.Done():
	case <-e.ctx.Done():
		e.Errorf("the line that was handed over outlives a new one")
	}
}

func redial(e *env) {
	old := e.c
	e.c = e.dial(e.m)
	e.sh(e.c, "true")
	select {
	case <-old.Done():
	case <-e.ctx.Done():
		e.Errorf("the earlier line outlives a new one")
	}
	if lineError := (*guest.LineError)(nil); !errors.As(old.Err(), &lineError) {
		e.Errorf("the earlier line's error: got %v, want a *guest.LineError", old.Err())
	}
}

func tooLarge(e *env) {
	for what, edit := range map[string]func(*vm.Spec){
		"cpus":   func(s *vm.Spec) { s.CPUs = 1 << 20 },
		"memory": func(s *vm.Spec) { s.Memory = math.MaxInt64 / 2 },
		"disk":   func(s *vm.Spec) { s.Disk = math.MaxInt64 / 2 },
	} {
		spec := e.spec("large-" + what)
		edit(&spec)
		m, err := e.cfg.Driver.Launch(e.ctx, spec)
		if err == nil {
			e.must(m.Close())
		}
		if re := (*vm.ResourceError)(nil); !errors.As(err, &re) || re.What != what || re.Has == "" {
			e.Errorf("%s: got %v, want a *vm.ResourceError about %s", what, err, what)
		}
		e.gone(spec.Dir)
	}
}
