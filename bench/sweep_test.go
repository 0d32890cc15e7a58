//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A run removes what killed ones left, and nothing that somebody uses.
func TestSweepStages(t *testing.T) {
	parent := t.TempDir()
	folder := func(name string) string {
		dir := filepath.Join(parent, name)
		if err := os.MkdirAll(filepath.Join(dir, "plain-1"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dead, live, other, stranger := folder("bench-1"), folder("bench-2"), folder("bench-3"), folder("else-1")
	for _, dir := range []string{dead, live, stranger} {
		lock, err := holdStage(dir)
		if err != nil {
			t.Fatal(err)
		}
		if dir == live {
			defer lock.Close()
		} else {
			lock.Close()
		}
	}
	var said []string
	if err := sweepStages(parent, func(line string) { said = append(said, line) }); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{dead: false, live: true, other: true, stranger: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: got %v, want it there: %v", dir, err, want)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], dead) {
		t.Errorf("got %q, want one line about %s", said, dead)
	}
}

// Of the process ids that a killed run wrote down, those are left alone that are
// somebody else's now.
func TestSweepDaemonsSparesOthers(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer other.Wait()
	defer other.Process.Kill()
	file := filepath.Join(dir, "libvirtd.pid")
	if err := writeText(file, strconv.Itoa(other.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if err := sweepDaemons(dir); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(other.Process.Pid, 0); err != nil {
		t.Errorf("got %v, want the other process alive", err)
	}
}

// A contestant dies with the benchmark, also when that is killed.
func TestContestantDiesWithItsParent(t *testing.T) {
	if os.Getenv("BENCH_PARENT") != "" {
		cmd := exec.Command("sleep", "1000")
		if _, err := start(cmd, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(strconv.Itoa(cmd.Process.Pid) + "\n")
		select {}
	}
	parent := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	parent.Env = append(os.Environ(), "BENCH_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var text [32]byte
	n, err := out.Read(text[:])
	pid, bad := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil || bad != nil {
		t.Fatalf("got %q, %v, want a process id", text[:n], err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait() // it was killed
	for deadline := time.Now().Add(30 * time.Second); runs(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("it lives on")
		}
	}
}

// runs reports whether a process is there and has not ended.
func runs(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
