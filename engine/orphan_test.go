package engine_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// orphan starts a child, gives it f's script, closes its standard input when
// the script says "now", as a parent that dies does, waits for the child to end
// and returns its last words.
func orphan(t *testing.T, f *fixture) string {
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
	last := drain(out, in)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return last
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
