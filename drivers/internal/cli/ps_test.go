package cli

import (
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"testing"
	"time"

	"assay/vm"
)

// TestParseProcess reads what ps prints on the systems that hypervisors run on.
func TestParseProcess(t *testing.T) {
	for line, want := range map[string]vm.Usage{
		"  501 400000   0:01.23 /Applications/x --uuid A": {PID: 501, Memory: 400000 << 10, CPU: 1230 * time.Millisecond},
		" 7 12 1-02:03:04 qemu -uuid A":                   {PID: 7, Memory: 12 << 10, CPU: 26*time.Hour + 3*time.Minute + 4*time.Second},
		"8 1 123:45.67 x A":                               {PID: 8, Memory: 1 << 10, CPU: 123*time.Minute + 45670*time.Millisecond},
	} {
		if got, command, ok := parseProcess(line); !ok || got != want || !hasWord(command, []string{"A"}) {
			t.Errorf("%q: got %+v, %q, %v, want %+v", line, got, command, ok, want)
		}
	}
	for _, line := range []string{"", "1 2 3", "x 1 0:01 a", "1 x 0:01 a", "1 1 x a", "1 1 1:2:3:4 a", "1 1 -1:02 a", "1 1 0:NaN a"} {
		if got, _, ok := parseProcess(line); ok {
			t.Errorf("%q: got %+v, want nothing", line, got)
		}
	}
}

// TestProcessUsage finds a child in the system's own list.
func TestProcessUsage(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "31.25")
	if err := child.Start(); err != nil {
		t.Skip(err) // a system without sleep has no ps either
	}
	defer child.Wait()
	defer child.Process.Kill()
	u, err := ProcessUsage(t.Context(), "", "sleep 31.25")
	if errors.Is(err, ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil || u.Memory < 64<<10 || u.PID != child.Process.Pid {
		t.Errorf("got %+v, %v, want the process %d", u, err, child.Process.Pid)
	}
	if u, err := ProcessUsage(t.Context(), "no-process-has-this-word"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %+v, %v, want fs.ErrNotExist", u, err)
	}
}

// TestTurn proves that one at a time has the turn, that its end ends what is
// being done, and that only one caller is to close.
func TestTurn(t *testing.T) {
	turn := NewTurn()
	inner, give, err := turn.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := turn.Take(waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("a second caller: got %v, want it to wait", err)
	}
	ended := make(chan bool, 1)
	go func() {
		first, give := turn.End()
		give()
		ended <- first
	}()
	<-inner.Done() // the end reaches what is being done
	give()
	if !<-ended {
		t.Error("the first End is not the first")
	}
	if first, give := turn.End(); first {
		t.Error("the second End is the first too")
	} else {
		give()
	}
	if _, _, err := turn.Take(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("after the end: got %v, want that it is closed", err)
	}
}
