package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"assay/vm"
)

// sweeper is a driver that notes what it is asked to sweep.
type sweeper struct {
	vm.Driver
	owners []string
}

func (s *sweeper) Sweep(_ context.Context, owner string) (int, error) {
	s.owners = append(s.owners, owner)
	return 1, nil
}

// TestDeadRuns proves that a run is alive exactly as long as its lock is held,
// and that only dead ones are collected, every owner of theirs.
func TestDeadRuns(t *testing.T) {
	state := t.TempDir()
	live, err := openRun(state, "live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.close()
	dead, err := openRun(state, "dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dead.path+".3", "vm-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as when the process is killed
	if err := os.Mkdir(filepath.Join(state, "run", "young"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := DeadRuns(state); !slices.Equal(got, []string{"dead"}) {
		t.Errorf("got dead runs %q, want dead", got)
	}
	if got := LiveRuns(state); !slices.Equal(got, []string{"live", "young"}) {
		t.Errorf("got live runs %q, want live and young", got)
	}
	d := &sweeper{}
	if n, err := Collect(t.Context(), []vm.Driver{d}, state, "dead"); err != nil || n != 2 || !slices.Equal(d.owners, []string{"dead", "dead.3"}) {
		t.Errorf("got %d, %v, owners %q", n, err, d.owners)
	}
	if left, _ := filepath.Glob(filepath.Join(state, "run", "dead*")); len(left) > 0 {
		t.Errorf("left %q, want nothing of the dead run", left)
	}
	if _, err := Collect(t.Context(), []vm.Driver{d}, state, "live"); err == nil || !strings.Contains(err.Error(), "the run is alive") {
		t.Errorf("got %v, want that the run is alive", err)
	}
}

// TestRunIDSorts proves that ids sort by time.
func TestRunIDSorts(t *testing.T) {
	a := NewRunID()
	time.Sleep(1100 * time.Millisecond)
	if b := NewRunID(); a >= b {
		t.Errorf("got %s then %s, want them in order", a, b)
	}
}

// TestRunIDIsAName proves that an id cannot lead out of the state folder.
func TestRunIDIsAName(t *testing.T) {
	for _, id := range []string{"", "../x", "a/b", "a.b", ".hidden"} {
		if d, err := openRun(t.TempDir(), id); err == nil {
			t.Errorf("%q: got %s, want an error", id, d.path)
		}
	}
}

// TestLongSocket proves that a control socket works at a path that is longer
// than a socket's address may be.
func TestLongSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vm.sock")
	l, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Write([]byte("hi"))
			conn.Close()
		}
	}()
	conn, err := DialLive(t.Context(), Live{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var b [2]byte
	if n, err := conn.Read(b[:]); n != 2 || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
}
