package standin_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"assay/drivers/standin"
)

// A watcher is a test that remembers its failures, for tests of tests.
type watcher struct {
	testing.TB
	mu      sync.Mutex
	said    []string
	cleanup []func()
}

func (w *watcher) Helper()             {}
func (w *watcher) Cleanup(f func())    { w.cleanup = append(w.cleanup, f) }
func (w *watcher) Logf(string, ...any) {}

func (w *watcher) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *watcher) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}

// watch runs a test to its end and returns what it complained of.
func watch(t *testing.T, test func(testing.TB)) string {
	w := &watcher{TB: t}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer func() {
			for i := len(w.cleanup) - 1; i >= 0; i-- {
				w.cleanup[i]()
			}
		}()
		test(w)
	}()
	<-over
	return strings.Join(w.said, "\n")
}

const written = `{"tool":"hyper","ring":"written","from":"the manual"}` + "\n"

// replayed plays a transcript to some calls, and returns the complaints and the
// output of the last call.
func replayed(t *testing.T, transcript string, calls ...string) (problems, last string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "t.jsonl")
	if err := os.WriteFile(file, []byte(transcript), 0o600); err != nil {
		t.Fatal(err)
	}
	problems = watch(t, func(tb testing.TB) {
		standin.New(tb, "hyper", standin.Replay(tb, file))
		for _, line := range calls {
			argv, stdin, _ := strings.Cut(line, "<")
			cmd := exec.Command("hyper", strings.Fields(argv)...)
			cmd.Stdin = strings.NewReader(stdin)
			out, _ := cmd.CombinedOutput()
			last = string(out)
		}
	})
	return problems, last
}

// TestReplayIsStrict proves what a transcript lets through, and that all else
// fails the test.
func TestReplayIsStrict(t *testing.T) {
	two := written + `{"argv":["hyper","make","${id}"],"stdout":"made ${id}\n"}` + "\n" + `{"argv":["hyper","show","${id}"],"many":true,"stdout":"${id} ${other}"}` + "\n" + `{"argv":["hyper","end"],"exit":3,"stderr":"over"}` + "\n"
	any := strings.Replace(two, `"ring"`, `"any":true,"ring"`, 1)
	input := written + `{"argv":["hyper","put"],"stdin":"a ${b} c"}` + "\n"
	for name, tc := range map[string]struct {
		transcript, calls, problem, last string
	}{
		"all is well":     {two, "make x|show x|show x|end|show x", "", "x ${other}"},
		"out of order":    {two, "show x|make x|end", `got the call ["hyper" "show" "x"], want call 1, ["hyper" "make" "${id}"]`, ""},
		"in any order":    {any, "end|show x|make x", "", "made x\n"},
		"another binding": {any, "make x|show y|end", `got the call ["hyper" "show" "y"]`, ""},
		"unknown":         {two, "make x|show x|end|destroy x", `got the call ["hyper" "destroy" "x"], want none: the transcript is over`, ""},
		"left over":       {two, "make x|show x", "call 3 never came", "x ${other}"},
		"twice":           {two, "make x|make x|show x|end", `got the call ["hyper" "make" "x"]`, ""},
		"the right input": {input, "put<a b b c", "", ""},
		"the wrong input": {input, "put<nothing", `want "a ${b} c"`, ""},
		"no origin":       {`{"tool":"hyper","ring":"recorded"}`, "", "want ring recorded with a version", ""},
		"a slip":          {written + `{"argw":["hyper"]}`, "", "argw", ""},
	} {
		t.Run(name, func(t *testing.T) {
			problems, last := replayed(t, tc.transcript, strings.Split(tc.calls, "|")...)
			if tc.problem == "" && problems != "" || !strings.Contains(problems, tc.problem) {
				t.Errorf("got the complaint %q, want %q", problems, tc.problem)
			}
			if tc.problem == "" && last != tc.last {
				t.Errorf("got the last output %q, want %q", last, tc.last)
			}
		})
	}
}
