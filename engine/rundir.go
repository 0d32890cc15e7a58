package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay"
	"assay/platform"
	"assay/vm"
)

// A Live is a machine that lives now. The parent of its run, or a child of it,
// owns it.
type Live struct {
	Run     string    `json:"run"`
	Cell    string    `json:"cell"`
	Name    string    `json:"name"`
	ID      string    `json:"id"` // the hypervisor's; empty while it is being made
	Image   string    `json:"image"`
	Driver  string    `json:"driver"`
	PID     int       `json:"pid"` // of the process that owns it
	Started time.Time `json:"started"`
	Socket  string    `json:"socket,omitempty"` // DialLive's, if the verbs serve it

	Starting string `json:"starting,omitempty"` // what its launch is doing, if that goes on
	Existing string `json:"existing,omitempty"` // the user's name for it, if somebody else made it

	Machine *assay.Machine `json:"machine,omitempty"` // its record, once its guest has answered
}

// NewRunID returns an id that sorts by time: 20261123T130009-7f3a.
func NewRunID() string {
	var b [2]byte
	rand.Read(b[:])
	return time.Now().UTC().Format("20060102T150405") + fmt.Sprintf("-%x", b)
}

// runDir is the folder run/ID of one run, held by an open lock. Beside it lie
// the folders run/ID.1, run/ID.2 … of its cells, with their machines.
type runDir struct {
	path string
	lock *os.File
}

// openRun makes the folder of a run and holds it: as long as somebody has the
// lock the run is alive, and the lock goes with the process, however that ends.
func openRun(state, id string) (*runDir, error) {
	if id == "" || strings.ContainsAny(id, "/\\.") {
		return nil, Scriptf("run: id: got %q, want letters, digits and -", id)
	}
	path := filepath.Join(state, "run", id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &InfraError{Err: fmt.Errorf("run: %w", err)}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, &InfraError{Err: fmt.Errorf("run: %w", err)}
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &InfraError{Err: fmt.Errorf("run: %w", err)}
	}
	if err := platform.Lock(lock, platform.Shared); err != nil {
		lock.Close()
		return nil, &InfraError{Err: fmt.Errorf("run: lock: %w", err)}
	}
	return &runDir{path, lock}, nil
}

// hold makes a run count as alive until the caller lets go, though the process
// that opened it may die before: one of its children is still at work.
func hold(state, id string) (letGo func()) {
	f, err := os.OpenFile(filepath.Join(state, "run", filepath.Base(id), "lock"), os.O_RDWR, 0)
	if err != nil {
		return func() {} // a run without a lock has no parent that could die
	}
	_ = platform.Lock(f, platform.Shared) // else some other process is just looking: the parent's is enough while it lives
	return func() { f.Close() }
}

// close removes the run's folders, the one that is held last. Those of cells that
// could not close their machines stay, and the run's with them: then it is a dead
// run, which Collect cleans up.
func (d *runDir) close() error {
	var errs []error
	left := false
	for _, cell := range cellDirs(d.path) {
		if len(ledgers(cell)) > 0 {
			left = true
			continue
		}
		errs = append(errs, os.RemoveAll(cell))
	}
	if !left {
		errs = append(errs, os.RemoveAll(d.path))
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

// closedSuffix is of the ledgers of machines that were closed in order.
const closedSuffix = ".closed"

// ledgers lists the books of the machines of the cell whose folder is dir.
func ledgers(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*.json")) // the pattern is well-formed
	return files
}

// cellDirs lists the folders of the cells of the run whose folder is path.
func cellDirs(path string) []string {
	dirs, _ := filepath.Glob(escapeGlob(path) + ".*") // the pattern is well-formed
	return dirs
}

// isLive reports whether a process holds the run's folder. A folder that has no
// lock yet is young, or its owner died young.
func isLive(path string) bool {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
	if err != nil {
		info, err := os.Stat(path)
		return err == nil && time.Since(info.ModTime()) < time.Minute
	}
	defer f.Close()
	return platform.Lock(f, platform.Exclusive) != nil
}

// LiveRuns returns the ids of the runs that some process holds, oldest first.
func LiveRuns(stateDir string) []string { return runs(stateDir, true) }

// DeadRuns returns the ids of the runs whose process died before it had
// cleaned up, oldest first. See Collect.
func DeadRuns(stateDir string) []string { return runs(stateDir, false) }

func runs(stateDir string, live bool) []string {
	entries, err := os.ReadDir(filepath.Join(stateDir, "run"))
	if err != nil {
		return nil // no run yet
	}
	var ids []string
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".") // a cell's folder stands for its run
		if e.IsDir() && !slices.Contains(ids, id) && isLive(filepath.Join(stateDir, "run", id)) == live {
			ids = append(ids, id)
		}
	}
	return ids
}

// Collect destroys what a dead run left behind, its machines and its folder,
// and returns how many machines there were. A run that is alive is left alone.
func Collect(ctx context.Context, drivers []vm.Driver, stateDir, id string) (int, error) {
	path := filepath.Join(stateDir, "run", filepath.Base(id))
	if isLive(path) {
		return 0, &InfraError{Err: fmt.Errorf("gc: %s: the run is alive", id)}
	}
	owners := []string{id}
	for _, cell := range cellDirs(path) {
		owners = append(owners, filepath.Base(cell))
	}
	n, err := sweep(ctx, drivers, stateDir, owners)
	if err != nil {
		return n, fmt.Errorf("gc: %w", err)
	}
	for _, owner := range slices.Backward(owners) {
		err = errors.Join(err, os.RemoveAll(filepath.Join(stateDir, "run", owner)))
	}
	return n, err
}

// sweep asks every driver to destroy what the owners left behind. That a driver
// cannot be used now matters only if an owner's ledgers say that it was.
func sweep(ctx context.Context, drivers []vm.Driver, stateDir string, owners []string) (int, error) {
	total := 0
	var errs []error
	for _, d := range drivers {
		for _, owner := range owners {
			n, err := d.Sweep(ctx, owner)
			total += n
			if gone := (*vm.UnavailableError)(nil); errors.As(err, &gone) && !hasUsed(stateDir, owner, d.Name()) {
				continue
			}
			errs = append(errs, err)
		}
	}
	return total, errors.Join(errs...)
}

// hasUsed reports whether an owner has a machine of a driver in its books.
func hasUsed(stateDir, owner, driver string) bool {
	return slices.ContainsFunc(ledgers(filepath.Join(stateDir, "run", owner)), func(file string) bool {
		l, err := readLive(file)
		return err != nil || l.Driver == driver
	})
}

// LiveMachines lists the machines of all live runs, oldest first, also those that
// are being made.
func LiveMachines(stateDir string) []Live {
	var all []Live
	for _, id := range LiveRuns(stateDir) {
		files, _ := filepath.Glob(filepath.Join(escapeGlob(stateDir), "run", id+".*", "*.json")) // the pattern is well-formed
		for _, file := range files {
			if l, err := readLive(file); err == nil {
				all = append(all, l)
			}
		}
	}
	slices.SortFunc(all, func(a, b Live) int { return a.Started.Compare(b.Started) })
	return all
}

// escapeGlob makes a path stand for itself in a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer("*", "\\*", "?", "\\?", "[", "\\[", "\\", "\\\\").Replace(path)
}

func readLive(file string) (Live, error) {
	var l Live
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	l.Socket = strings.TrimSuffix(file, ".json") + ".sock"
	return l, err
}

func writeLive(file string, l Live) error {
	data, err := json.Marshal(l)
	if err == nil {
		err = os.WriteFile(file+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return &InfraError{Err: fmt.Errorf("launch: ledger: %w", err)}
	}
	return nil
}

// DialLive connects to the control socket of a live machine.
func DialLive(ctx context.Context, l Live) (net.Conn, error) {
	var conn net.Conn
	err := shortPath(l.Socket, func(path string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("shell: %s: %w", l.Name, err)
	}
	return conn, nil
}

func listenUnix(path string) (l net.Listener, err error) {
	err = shortPath(path, func(short string) error {
		l, err = net.Listen("unix", short)
		return err
	})
	if err != nil {
		return nil, &InfraError{Err: fmt.Errorf("listen: %w", err)}
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the short path is not valid by then
	return l, nil
}

// shortPath calls f with a name of path that fits into a socket address, which
// holds about 100 bytes.
func shortPath(path string, f func(string) error) error {
	if len(path) < 100 {
		return f(path)
	}
	return shorten(path, f)
}
