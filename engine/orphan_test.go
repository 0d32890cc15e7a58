package engine_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOrphanClosesItsMachines proves that a child whose parent is killed in the
// middle of its words, so that nobody hears its own, closes its machines before
// it ends.
func TestOrphanClosesItsMachines(t *testing.T) {
	f := newFixture(t, "m = launch(name = 'm')\nprint('now')\nfor i in range(100):\n    exec(m, 'echo %d' % i)\nexec(m, 'sleep 600')")
	cmd, in, out := startOrphan(t, f)
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), `"text":"now"`); {
		if strings.Contains(lines.Text(), `{"reserve":`) {
			io.WriteString(in, `{"grant":{"id":1}}`+"\n")
		}
	}
	out.Close()
	in.Close()
	if err := cmd.Wait(); err == nil || !strings.HasPrefix(err.Error(), "exit status") {
		t.Errorf("got %v, want an exit: it has nobody to tell the result", err)
	}
	if _, err := os.Stat(filepath.Join(f.env.StateDir, "run", "r.1", "m.closed")); err != nil {
		t.Errorf("the machine's book: %v, want it closed", err)
	}
}

// orphan starts a child, gives it f's script, closes its standard input when
// the script says "now", as a parent that dies does, waits for the child to end
// and returns its last words.
func orphan(t *testing.T, f *fixture) string {
	t.Helper()
	cmd, in, out := startOrphan(t, f)
	last := drain(out, in)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return last
}

// startOrphan starts a child and gives it f's script.
func startOrphan(t *testing.T, f *fixture) (*exec.Cmd, io.WriteCloser, io.ReadCloser) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "child", f.env.StateDir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	job := map[string]any{"job": map[string]any{"run": "r", "index": 1, "path": f.opt.Scripts[0], "timeout": int64(1e12),
		"cell": map[string]any{"id": "a", "script": "a.star", "image": "debian-12", "driver": "fake"}}}
	if err := json.NewEncoder(in).Encode(job); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// drain reads lines to the end, closes in at the one that says "now", and
// returns the last.
func drain(out io.Reader, in io.Closer) string {
	last := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = lines.Text()
		if strings.Contains(last, `"text":"now"`) {
			in.Close()
		}
	}
	return last
}
