//go:build unix

package standin_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"assay/drivers/standin"
)

// TestNothingIsLeft proves that after a test there is no process, no socket and
// no folder of a host's, also when the driver left a call running: then the test
// fails, and says which call it was.
func TestNothingIsLeft(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // so that everything made can be seen
	line := filepath.Join(t.TempDir(), "line")
	var left *exec.Cmd
	problems := watch(t, func(tb testing.TB) {
		started := make(chan bool)
		h := standin.New(tb, "hyper", func(c *standin.Call) int {
			close(started)
			return c.Hang()
		})
		g, err := h.Create("one", standin.Size{})
		if err == nil {
			err = g.Start()
		}
		if err == nil {
			err = g.Listen(line)
		}
		if err != nil {
			t.Error(err)
		}
		left = exec.Command("hyper", "forever")
		if err := left.Start(); err != nil {
			t.Error(err)
			return
		}
		<-started
	})
	if want := `["hyper" "forever"] still runs`; !strings.Contains(problems, want) {
		t.Errorf("got the complaint %q, want %q", problems, want)
	}
	if err := left.Wait(); left.ProcessState.ExitCode() < 0 {
		t.Errorf("the stand-in that was left: got %v, want it to have exited by itself", err)
	}
	if err := syscall.Kill(left.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: got %v, want that there is none", left.Process.Pid, err)
	}
	if _, err := os.Lstat(line); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the guest's socket: got %v, want it gone", err)
	}
	if files, err := os.ReadDir(os.TempDir()); err != nil || len(files) > 0 {
		t.Errorf("temporary files: got %v, %v; want none", files, err)
	}
}

// TestKilledStandIn proves that a player learns of its stand-in's death, and that
// a call that was killed is no leak.
func TestKilledStandIn(t *testing.T) {
	over, started := make(chan error, 1), make(chan bool)
	problems := watch(t, func(tb testing.TB) {
		standin.New(tb, "hyper", func(c *standin.Call) int {
			close(started)
			<-c.Ctx.Done()
			over <- c.Ctx.Err()
			return 0
		})
		cmd := exec.Command("hyper")
		if err := cmd.Start(); err != nil {
			t.Error(err)
			return
		}
		<-started
		cmd.Process.Kill()
		cmd.Wait()
		<-over
	})
	if problems != "" {
		t.Errorf("got the complaint %q, want none", problems)
	}
}
