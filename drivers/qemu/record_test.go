//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// leftover makes the folder of a dead run's machine, and a process that says on
// its command line that it is id.
func leftover(t *testing.T, runDir, owner, name, id string) (dir string, p *exec.Cmd) {
	t.Helper()
	dir = filepath.Join(runDir, owner, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p = exec.Command("/bin/sh", "-c", "echo; read x", "qemu", "-name", id)
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); p.Process.Kill(); p.Wait() })
	if _, err := out.Read(make([]byte, 1)); err != nil { // it has its command line now
		t.Fatal(err)
	}
	r := record{ID: id, Owner: owner, Name: name}
	if err := r.started(dir, p.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return dir, p
}

func alive(p *exec.Cmd) bool {
	stat, err := readStat(p.Process.Pid)
	return err == nil && stat.state != 'Z'
}

func gone(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}

func TestSweepFindsWhatADeadRunLeft(t *testing.T) {
	runs := t.TempDir()
	dir, p := leftover(t, runs, "run1", "m1", "run1.m1")
	nested, q := leftover(t, runs, "run1", "cell/m2", "run1.m2")
	other, r := leftover(t, runs, "run2", "m1", "run2.m1")
	sockets, err := os.MkdirTemp("", socketPrefix)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir, func(r *record) { r.Sockets = sockets })

	n, err := New(Config{RunDir: runs}).Sweep(t.Context(), "run1")
	if n != 2 || err != nil {
		t.Errorf("got %d, %v, want 2 machines", n, err)
	}
	if !gone(t, dir) || !gone(t, nested) || !gone(t, sockets) {
		t.Error("folders are left")
	}
	if alive(p) || alive(q) {
		t.Error("processes are left")
	}
	if gone(t, other) || !alive(r) {
		t.Error("another run's machine was destroyed")
	}
	if n, err := New(Config{RunDir: runs}).Sweep(t.Context(), "run1"); n != 0 || err != nil {
		t.Errorf("second sweep: got %d, %v, want 0", n, err)
	}
}

func rewrite(t *testing.T, dir string, change func(*record)) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	change(&r)
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
}

// A process that only has the recorded id is somebody else's.
func TestSweepKillsOnlyTheRecordedProcess(t *testing.T) {
	for name, change := range map[string]func(*record){
		"another start":   func(r *record) { r.Start++ },
		"another boot":    func(r *record) { r.BootID = "x" },
		"another machine": func(r *record) { r.ID = "run1.other" },
		"no process":      func(r *record) { r.PID = 0 },
		"init":            func(r *record) { r.PID = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			runs := t.TempDir()
			dir, p := leftover(t, runs, "run1", "m1", "run1.m1")
			rewrite(t, dir, change)
			if n, err := New(Config{RunDir: runs}).Sweep(t.Context(), "run1"); n != 1 || err != nil {
				t.Errorf("got %d, %v, want the folder swept", n, err)
			}
			if !alive(p) {
				t.Error("a stranger was killed")
			}
			if !gone(t, dir) {
				t.Error("the folder is left")
			}
		})
	}
}

// A record cannot make Sweep remove a folder that is not a socket folder.
func TestSweepRemovesNoStrangeFolder(t *testing.T) {
	runs, precious := t.TempDir(), t.TempDir()
	dir, _ := leftover(t, runs, "run1", "m1", "run1.m1")
	rewrite(t, dir, func(r *record) { r.Sockets = precious })
	if _, err := New(Config{RunDir: runs}).Sweep(t.Context(), "run1"); err != nil {
		t.Fatal(err)
	}
	if gone(t, precious) {
		t.Error("a folder that only the record named was removed")
	}
}

func TestSweepRefusesPathsAsOwner(t *testing.T) {
	for _, owner := range []string{"", ".", "..", "a/b", "/etc"} {
		if _, err := New(Config{RunDir: t.TempDir()}).Sweep(t.Context(), owner); err == nil {
			t.Errorf("owner %q was accepted", owner)
		}
	}
}

func TestSweepSaysWhichRecordIsDamaged(t *testing.T) {
	runs := t.TempDir()
	dir, _ := leftover(t, runs, "run1", "m1", "run1.m1")
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := New(Config{RunDir: runs}).Sweep(t.Context(), "run1"); n != 0 || err == nil {
		t.Errorf("got %d, %v, want an error", n, err)
	}
}

func TestParseStat(t *testing.T) {
	line := "4711 (a) R (b c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 99887766 20 21\n"
	got, err := parseStat([]byte(line))
	if want := (procStat{start: 99887766, ticks: 300, state: 'S'}); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "no parenthesis"} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestParseDelay(t *testing.T) {
	for data, want := range map[string]time.Duration{
		"107000000 2500000000 42\n": 2500 * time.Millisecond,
		"0 0 0\n":                   0,
		"":                          0,
		"1 x 2":                     0,
	} {
		if got := parseDelay([]byte(data)); got != want {
			t.Errorf("%q: got %v, want %v", data, got, want)
		}
	}
}

func TestTrim(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "image.raw")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	age := func(name string, hours int) string {
		path := filepath.Join(dir, name)
		fill(t, path, disk)
		at := time.Now().Add(-time.Duration(hours) * time.Hour)
		if err := os.Chtimes(filepath.Join(path, templateName), at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	oldest, old, young := age("c", 3), age("b", 2), age("a", 1)
	draft := age("d"+draftSuffix, 0)
	orphan := filepath.Join(dir, "e")
	fill(t, orphan, filepath.Join(dir, "removed.raw"))

	lease, err := lockFile(t.Context(), oldest+lockSuffix, lockShared)
	if err != nil {
		t.Fatal(err)
	}
	freed, err := Trim(dir, 3<<20)
	if err != nil || freed < 3<<20 {
		t.Errorf("got %d bytes, %v, want at least 3 MiB freed", freed, err)
	}
	for path, want := range map[string]bool{draft: true, orphan: true, oldest: false, old: true, young: false} {
		if got := gone(t, path); got != want {
			t.Errorf("%s: gone %v, want %v", filepath.Base(path), got, want)
		}
	}
	lease.Close()
	if _, err := Trim(dir, 0); err != nil {
		t.Fatal(err)
	}
	if !gone(t, oldest) || !gone(t, young) {
		t.Error("a limit of 0 left something")
	}
}

// fill makes a template of one MiB.
func fill(t *testing.T, dir, disk string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ramName), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	data, _ := json.Marshal(facts{Disk: disk})
	if err := os.WriteFile(filepath.Join(dir, templateName), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	a, err := lockFile(t.Context(), path, lockShared)
	if err != nil {
		t.Fatal(err)
	}
	b, err := lockFile(t.Context(), path, lockShared)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := lockFile(ctx, path, lockExclusive); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline while others hold the lock", err)
	}
	a.Close()
	b.Close()
	c, err := lockFile(t.Context(), path, lockExclusive)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
