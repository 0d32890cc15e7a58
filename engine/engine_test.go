package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.starlark.net/starlark"

	"assay"
	"assay/builtins"
	"assay/drivers/fake"
	"assay/engine"
	"assay/stdlib"
	"assay/vm"
)

// TestMain lets the test binary be its own child engine: "TEST child STATEDIR".
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		if err := engine.ServeChild(context.Background(), environment(os.Args[2]), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crash and hang are verbs that go wrong.
type noArgs struct{}

var (
	crash = engine.Func("crash", "None", "Ends the process.", noArgs{},
		func(context.Context, *engine.Session, noArgs) (starlark.Value, error) {
			fmt.Fprintln(os.Stderr, "the child's last words")
			os.Exit(9)
			return nil, nil
		})
	hang = engine.Func("hang", "None", "Never returns, whatever the context says.", noArgs{},
		func(context.Context, *engine.Session, noArgs) (starlark.Value, error) { select {} })
	oops = engine.Func("oops", "None", "Panics.", noArgs{},
		func(context.Context, *engine.Session, noArgs) (starlark.Value, error) { panic("oops") })
	wait = engine.Func("wait", "None", "Waits for the context.", noArgs{},
		func(ctx context.Context, s *engine.Session, _ noArgs) (starlark.Value, error) {
			s.Log("waiting")
			<-ctx.Done()
			return nil, ctx.Err()
		})
)

// store is an image store that knows three images.
type store struct{ vm.Driver }

func (s store) Resolve(name string) (vm.Image, error) {
	return s.Driver.(interface{ Image(string) vm.Image }).Image(name), nil
}

func (store) Match(globs []string) ([]string, error) {
	var all []string
	for _, g := range globs {
		n := len(all)
		for _, image := range []string{"debian-11", "debian-12", "debian-13", "fake-boot-panic"} {
			if ok, _ := filepath.Match(g, image); ok && !slices.Contains(all, image) {
				all = append(all, image)
			}
		}
		if len(all) == n {
			return nil, fmt.Errorf("%s: no such image", g)
		}
	}
	return all, nil
}

func environment(state string) engine.Env {
	d := fake.New()
	return engine.Env{Drivers: []vm.Driver{d}, Images: store{d}, Builtins: append(builtins.All(), crash, hang, oops, wait),
		Values: builtins.Values(), Stdlib: stdlib.FS, StateDir: state, Host: engine.Capacity{CPUs: 4, Memory: 4 << 30}}
}

// journal is a Recorder that checks the order of calls.
type journal struct {
	mu    sync.Mutex
	calls []string
	cells []*assay.Cell
}

func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, fmt.Sprintf(format, args...))
	return nil
}

func (j *journal) StartRun(assay.Run) error                { return j.note("start run") }
func (j *journal) StartCell(_ string, c *assay.Cell) error { return j.note("start %s", c.ID) }
func (j *journal) FinishRun(r assay.Run) error             { return j.note("finish run: %s", r.Verdict) }
func (j *journal) FinishCell(_ string, c *assay.Cell) error {
	j.mu.Lock()
	j.cells = append(j.cells, c)
	j.mu.Unlock()
	return j.note("finish %s: %s", c.ID, c.Verdict)
}

// write makes files in a new folder, from pairs of name and content.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		file := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A fixture is one run of one script.
type fixture struct {
	*testing.T
	env    engine.Env
	opt    engine.Options
	events []engine.Event
	rec    journal
}

func newFixture(t *testing.T, script string) *fixture {
	f := &fixture{T: t, env: environment(t.TempDir())}
	f.opt = engine.Options{Scripts: []string{filepath.Join(write(t, "a.star", script), "a.star")}}
	return f
}

// inChild makes the fixture evaluate its scripts in child processes.
func (f *fixture) inChild() *fixture {
	f.opt.Child = []string{os.Args[0], "child", f.env.StateDir}
	return f
}

func (f *fixture) run(ctx context.Context) (assay.Run, error) {
	f.Helper()
	run, err := engine.Run(ctx, f.env, f.opt, &f.rec, func(e engine.Event) { f.events = append(f.events, e) })
	if left, _ := filepath.Glob(filepath.Join(f.env.StateDir, "run", "*")); len(left) > 0 {
		f.Errorf("left behind: %v", left)
	}
	return run, err
}

// one runs the fixture's only cell.
func (f *fixture) one() *assay.Cell {
	f.Helper()
	run, err := f.run(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	if len(run.Cells) != 1 {
		f.Fatalf("got %d cells, want 1", len(run.Cells))
	}
	return run.Cells[0]
}

// want checks how a cell ended.
func (f *fixture) want(c *assay.Cell, v assay.Verdict, kind assay.FailureKind, message string) {
	f.Helper()
	if c.Failure == nil {
		c.Failure = &assay.Failure{}
	}
	if c.Verdict != v || c.Failure.Kind != kind || !strings.Contains(c.Failure.Message, message) {
		f.Errorf("got %s, %s: %q; want %s, %s: %q", c.Verdict, c.Failure.Kind, c.Failure.Message, v, kind, message)
	}
}

// verdicts maps what a script does to how its cell ends.
var verdicts = []struct {
	name, script string
	verdict      assay.Verdict
	kind         assay.FailureKind
	message      string
	position     string
}{
	{"pass", `exec(launch(), "true")`, assay.Pass, "", "", ""},
	{"check", "x = 1\ncheck(x == 2, 'x is not 2')", assay.Fail, assay.SubjectFailure, "check: x is not 2", "a.star:2:6"},
	{"exit code", `exec(launch(), "exit 3")`, assay.Fail, assay.SubjectFailure, "exec: exit 3: exit code 3", "a.star:1:5"},
	{"hung", `exec(launch(), "sleep 60", timeout = "50ms")`, assay.Fail, assay.SubjectFailure, "exec: sleep 60: still running after", "a.star:1:5"},
	{"missing on pull", "m = launch()\ntransfer(m.path('/none'), 'x')", assay.Fail, assay.SubjectFailure, "transfer:", "a.star:2:9"},
	{"wrong argument", `exec(launch(), 7)`, assay.Error, assay.ScriptFailure, "exec: for parameter command: got int", "a.star:1:5"},
	{"name error in a function", "def test_x():\n    fail('no')", assay.Error, assay.ScriptFailure, "fail: no", "a.star:2:9"},
	{"unknown image", `launch("fake-boot-panic")`, assay.Error, assay.InfraFailure, "the guest's kernel panicked", "a.star:1:7"},
	{"line lost", `exec(launch("fake-line-dies"), "true")`, assay.Error, assay.InfraFailure, "lost the line", "a.star:1:5"},
	{"too large", `launch(memory = "64G")`, assay.Error, assay.InfraFailure, "memory: got 65536 MiB, want at most", "a.star:1:7"},
	{"panic of a verb", `oops()`, assay.Error, assay.InfraFailure, "oops: panic: oops", "a.star:1:5"},
	{"endless loop", "def test_x():\n    for i in range(1 << 40):\n        pass", assay.Error, assay.ScriptFailure, "script ran 50000000 steps without coming to an end", "a.star:2:5"},
	{"while", "def test_x():\n    while True:\n        pass", assay.Error, assay.ScriptFailure, "does not support while loops", "a.star:2:5"},
}

// TestVerdicts proves whose doing each kind of error is, here and in a child.
func TestVerdicts(t *testing.T) {
	for _, tt := range verdicts {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, tt.script)
			run, err := f.run(t.Context())
			if tt.name == "while" { // found while planning
				if s := (*engine.ScriptError)(nil); !errors.As(err, &s) || s.Position != tt.position || !strings.Contains(err.Error(), tt.message) {
					t.Errorf("got %v, want %s: %s", err, tt.position, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c := run.Cells[0]
			f.want(c, tt.verdict, tt.kind, tt.message)
			if c.Failure.Position != tt.position {
				t.Errorf("got position %q, want %q", c.Failure.Position, tt.position)
			}
		})
	}
}

// TestRecord proves that a run's record holds what happened, in order.
func TestRecord(t *testing.T) {
	for _, child := range []bool{false, true} {
		t.Run(fmt.Sprintf("child=%v", child), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, "def test_x():\n    m = launch()\n    print('hello')\n    exec(m, 'echo hi')\n    check(True, 'fine')\n")
			if child {
				f.inChild()
			}
			f.opt.Command = []string{"assay", "run", "a.star"}
			f.opt.Params = map[string]string{"k": "v"}
			c := f.one()
			f.want(c, assay.Pass, "", "")
			if c.ID != "a.star:test_x@debian-12/fake" || c.Test != "test_x" || len(c.Digest) != 64 || c.Params["k"] != "v" {
				t.Errorf("got cell %+v", c)
			}
			var steps []string
			for _, s := range c.Steps {
				steps = append(steps, fmt.Sprintf("%d %s %s %s", s.Seq, s.Verb, s.Detail, s.Position))
			}
			want := []string{"1 launch debian-12 as debian-12-1 a.star:2", "2 exec echo hi a.star:4", "3 check fine a.star:5"}
			if !slices.Equal(steps, want) {
				t.Errorf("got steps %q, want %q", steps, want)
			}
			if x := c.Steps[1].Exec; x == nil || x.Stdout != "hi\n" || x.User != "tester" {
				t.Errorf("got exec %+v", x)
			}
			if len(c.Machines) != 1 || c.Machines[0].OS.Version != "12" || c.Machines[0].ID != c.Steps[1].Machine {
				t.Errorf("got machines %+v", c.Machines)
			}
			if len(c.Checks) != 1 || !c.Checks[0].OK || c.Checks[0].Step != 3 {
				t.Errorf("got checks %+v", c.Checks)
			}
			calls := []string{"start run", "start " + c.ID, "finish " + c.ID + ": pass", "finish run: pass"}
			if !slices.Equal(f.rec.calls, calls) {
				t.Errorf("got recorder calls %q, want %q", f.rec.calls, calls)
			}
			var kinds []string
			for _, e := range f.events {
				if e.Kind != engine.Phase && e.Text != "\n" {
					kinds = append(kinds, strings.TrimSpace(e.Kind+" "+e.Text))
				}
			}
			wantKinds := []string{"cell_start debian-12", "step_start", "step_end", "log hello", "step_start", "output hi", "step_end", "step_start", "step_end", "cell_end"}
			if !slices.Equal(kinds, wantKinds) {
				t.Errorf("got events %q, want %q", kinds, wantKinds)
			}
		})
	}
}

// TestArtifacts proves that a finished cell's artifacts exist when the recorder
// gets the cell, and are what their digests say.
func TestArtifacts(t *testing.T) {
	f := newFixture(t, "m = launch()\ncapture(m)\ntransfer(m.path('/etc/hostname'), 'etc/name')").inChild()
	found := map[string]int{}
	rec := &artifactRecorder{journal: &f.rec, found: found}
	if _, err := engine.Run(t.Context(), f.env, f.opt, rec, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"capture-1.json.zst", "etc/name", "console-debian-12-1.log"} {
		if found[name] == 0 {
			t.Errorf("no artifact %s; got %v", name, found)
		}
	}
}

type artifactRecorder struct {
	*journal
	found map[string]int
}

func (r *artifactRecorder) FinishCell(_ string, c *assay.Cell) error {
	for _, f := range c.Files {
		data, err := os.ReadFile(f.Path)
		if err != nil || int64(len(data)) != f.Size || len(f.Digest) != 64 {
			return fmt.Errorf("artifact %+v: %w", f, err)
		}
		r.found[f.Name] = len(data)
	}
	return nil
}

// TestMemory proves that a script cannot eat the host: each of these asks for
// gigabytes, and ends soon with one clear error.
func TestMemory(t *testing.T) {
	for name, script := range map[string]string{
		"one operation": "def test_x():\n    launch()\n    x = [0] * (1 << 26)\n    y = x + x\n    z = y + x\n",
		"at planning":   "x = [0] * (1 << 26)\ny = x + x\nlaunch()",
		"by and by":     "def test_x():\n    launch()\n    x = ['%d' % i * 1000 for i in range(10000000)]\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, script).inChild()
			began := time.Now()
			run, err := f.run(t.Context())
			message := ""
			if s := (*engine.ScriptError)(nil); errors.As(err, &s) {
				message = err.Error()
			} else if err == nil {
				f.want(run.Cells[0], assay.Error, assay.ScriptFailure, "MiB of memory")
				message = run.Cells[0].Failure.Message
			}
			if !strings.Contains(message, "script used more than 768 MiB of memory") {
				t.Errorf("got %q, %v", message, err)
			}
			t.Logf("ended after %s", time.Since(began))
		})
	}
	f := newFixture(t, "x = 'a' * (1 << 31)\nlaunch()").inChild()
	if _, err := f.run(t.Context()); err == nil || !strings.Contains(err.Error(), "a.star:1:9: repeat count 2147483648 too large") {
		t.Errorf("got %v, want repeat count too large", err)
	}
}

// TestChildCrash proves that a child that dies is our trouble, with its last
// words, and that the steps that it had finished are kept.
func TestChildCrash(t *testing.T) {
	f := newFixture(t, "def test_x():\n    launch()\n    crash()\n").inChild()
	c := f.one()
	f.want(c, assay.Error, assay.InfraFailure, "child: ended without a result: exit status 9")
	if !strings.Contains(c.Failure.Detail, "the child's last words") {
		t.Errorf("got detail %q", c.Failure.Detail)
	}
	if len(c.Steps) != 1 || c.Steps[0].Verb != "launch" {
		t.Errorf("got steps %+v, want launch", c.Steps)
	}
}

// TestInterrupt proves that an interrupt ends the cells that run, keeps those
// that are done, and does not start the rest.
func TestInterrupt(t *testing.T) {
	for _, child := range []bool{false, true} {
		for _, verb := range []string{"wait()", "exec(m, 'sleep 600')", "hang()"} {
			t.Run(fmt.Sprintf("child=%v %s", child, verb), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, "def test_1():\n    launch()\ndef test_2():\n    m = launch()\n    print('now')\n    "+verb+"\ndef test_3():\n    launch()\n")
				if child {
					f.inChild()
				}
				f.opt.Jobs = 1
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				run, err := engine.Run(ctx, f.env, f.opt, &f.rec, func(e engine.Event) {
					if e.Text == "now" {
						cancel()
					}
				})
				if !errors.Is(err, engine.ErrInterrupted) {
					t.Errorf("got error %v, want ErrInterrupted", err)
				}
				f.want(run.Cells[0], assay.Pass, "", "")
				f.want(run.Cells[1], assay.Error, assay.InterruptedFailure, "interrupted")
				f.want(run.Cells[2], assay.Skip, assay.InterruptedFailure, "before it started")
				if len(f.rec.cells) != 3 || run.Verdict != assay.Error {
					t.Errorf("got %d recorded cells and verdict %s", len(f.rec.cells), run.Verdict)
				}
			})
		}
	}
}

// TestTimeout proves that a cell that takes too long is our trouble.
func TestTimeout(t *testing.T) {
	f := newFixture(t, "wait()").inChild()
	f.opt.Timeout = 300 * time.Millisecond
	f.want(f.one(), assay.Error, assay.InfraFailure, "cell ran longer than 300ms; raise --timeout")
}

// TestParallel proves that cells run at the same time, and no more of them than
// there is memory for.
func TestParallel(t *testing.T) {
	f := newFixture(t, "variants = ['a', 'b', 'c', 'd', 'e', 'f']\ndef test_x():\n    launch(memory = '1G')\n    exec(launch(memory = '256M'), 'sleep 0.1')\n").inChild()
	f.env.Host = engine.Capacity{CPUs: 2, Memory: 3 << 30}
	f.opt.Jobs = 6
	run, err := f.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range run.Cells {
		f.want(c, assay.Pass, "", "")
	}
}

// TestKeep proves that kept machines live, and can be reached from outside,
// until the hook returns.
func TestKeep(t *testing.T) {
	for _, child := range []bool{false, true} {
		for keep, want := range map[engine.Keep]int{engine.KeepNever: 0, engine.KeepFailed: 1, engine.KeepAlways: 2} {
			t.Run(fmt.Sprintf("child=%v %s", child, keep), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, "def test_good():\n    launch()\ndef test_bad():\n    exec(launch(), 'echo kept > /tmp/f; exit 1')\n")
				if child {
					f.inChild()
				}
				f.opt.Keep = keep
				var kept []string
				var mu sync.Mutex
				f.env.OnKeep = func(ctx context.Context, c assay.Cell, machines []engine.Live) {
					mu.Lock()
					defer mu.Unlock()
					kept = append(kept, c.ID)
					visit(t, ctx, f.env.StateDir, machines)
				}
				if _, err := f.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(kept) != want {
					t.Errorf("kept %v, want %d cells", kept, want)
				}
			})
		}
	}
}

// visit runs a command in a kept machine, as assay shell does.
func visit(t *testing.T, ctx context.Context, state string, machines []engine.Live) {
	if len(machines) != 1 || !slices.ContainsFunc(engine.LiveMachines(state), func(l engine.Live) bool { return l.Socket == machines[0].Socket }) {
		t.Errorf("got machines %+v, want one that LiveMachines lists", machines)
		return
	}
	c, err := builtins.DialShell(ctx, machines[0])
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil || info.Hostname != machines[0].Name {
		t.Errorf("got %+v, %v, want hostname %s", info, err, machines[0].Name)
	}
}

// TestChildOutlivesNoParent proves that a child whose parent dies ends by itself.
func TestChildOutlivesNoParent(t *testing.T) {
	f := newFixture(t, "print('now')\nwait()")
	cell := orphan(t, f)
	if !strings.Contains(cell, `"kind":"interrupted"`) {
		t.Errorf("got %s, want an interrupted cell", cell)
	}
}
