package main

import (
	"cmp"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"assay/engine"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"assay": func() { os.Exit(run()) }})
}

// TestScripts runs the program as its users do, on machines in memory.
func TestScripts(t *testing.T) {
	samples, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("ASSAY_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("SCRIPTS", samples)
			e.Setenv("NO_COLOR", "1")
			e.Setenv("BIN", filepath.SplitList(e.Getenv("PATH"))[0]) // where assay stands
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "race":
				return raceDetector, nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "strikes": strikes},
	})
}

// exits runs a command and wants exactly this exit code: exits 2 assay run nothing.star
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("got exit code %d, want %d", got, want)
	}
}

// strikes sends a signal to a command as soon as it has printed a text, and
// wants this exit code, -1 for one that the signal ends; then it waits until the
// command's children have cleaned up. What it printed is in the file struck: strikes INT 4 TEXT assay run slow.star
func strikes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: strikes SIGNAL CODE TEXT COMMAND ARGS…")
	}
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "KILL": os.Kill}[args[0]]
	path, err := lookPath(ts, args[3])
	ts.Check(err)
	struck, err := os.Create(ts.MkAbs("struck"))
	ts.Check(err)
	defer struck.Close()
	cmd := exec.Command(path, args[4:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), struck, struck
	for _, name := range []string{"PATH", "HOME", "ASSAY_HOME", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	home := cmp.Or(ts.Getenv("ASSAY_HOME"), homeDir())
	others := engine.LiveRuns(home)
	ts.Check(cmd.Start())
	for deadline := time.Now().Add(time.Minute); !strings.Contains(ts.ReadFile("struck"), args[2]); {
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			ts.Fatalf("it never says %q: %s", args[2], ts.ReadFile("struck"))
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Check(cmd.Process.Signal(signal))
	_ = cmd.Wait() // the exit code tells
	if got := cmd.ProcessState.ExitCode(); strconv.Itoa(got) != args[1] {
		ts.Fatalf("got exit code %d, want %s: %s", got, args[1], ts.ReadFile("struck"))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		switch live := engine.LiveRuns(home); {
		case !slices.ContainsFunc(live, func(id string) bool { return !slices.Contains(others, id) }):
			return
		case time.Now().After(deadline):
			ts.Fatalf("still at work: %v", live)
		}
	}
}

// lookPath finds a command on the script's PATH.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); isFile(path) {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}
