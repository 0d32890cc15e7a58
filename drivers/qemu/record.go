//go:build linux

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// recordName is the file in a machine's folder by which Sweep finds it.
const recordName = "machine.json"

// A record says which process belongs to a machine's folder. A process id alone
// is not enough: the host reuses them.
type record struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	PID     int    `json:"pid,omitempty"`
	Start   uint64 `json:"start,omitempty"` // of the process, clock ticks after boot
	BootID  string `json:"boot_id,omitempty"`
	Sockets string `json:"sockets,omitempty"` // a socket folder outside the machine's own
}

// write saves the record in a machine's folder.
func (r *record) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, recordName), data)
}

// started adds the process to the record.
func (r *record) started(dir string, pid int) error {
	stat, err := readStat(pid)
	if err != nil {
		return err
	}
	r.PID, r.Start, r.BootID = pid, stat.start, bootID()
	return r.write(dir)
}

// running reports whether the record's process is alive and still the same.
func (r *record) running() bool {
	if r.PID <= 1 || r.BootID != bootID() {
		return false
	}
	stat, err := readStat(r.PID)
	if err != nil || stat.start != r.Start || stat.state == 'Z' {
		return false
	}
	args, err := readArgs(r.PID)
	at := slices.Index(args, "-name")
	return err == nil && at >= 0 && at+1 < len(args) && args[at+1] == r.ID
}

// Sweep kills the machines that the owner left behind below RunDir/OWNER and
// removes their folders. Only a process that is provably the recorded one is
// killed.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	if owner == "" || owner == "." || owner != filepath.Base(owner) || !filepath.IsLocal(owner) {
		return 0, fmt.Errorf("sweep: got owner %q, want the name of a run", owner)
	}
	dirs, err := machineDirs(filepath.Join(d.cfg.RunDir, owner))
	var errs []error
	var n int
	for _, dir := range dirs {
		swept, err := sweepDir(ctx, dir, owner)
		errs = append(errs, err)
		if swept {
			n++
		}
	}
	return n, errors.Join(append(errs, err)...)
}

// machineDirs lists the folders below root that hold a record.
func machineDirs(root string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.Name() == recordName && e.Type().IsRegular() {
			dirs = append(dirs, filepath.Dir(path))
		}
		return err
	})
	return dirs, err
}

// sweepDir destroys the machine of one folder, if it is the owner's and this
// driver's.
func sweepDir(ctx context.Context, dir, owner string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordName))
	if err != nil {
		return false, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return false, fmt.Errorf("sweep: %s: %w", filepath.Join(dir, recordName), err)
	}
	if r.Owner != owner {
		return false, nil
	}
	if err := r.kill(ctx); err != nil {
		return false, err
	}
	if isSocketDir(r.Sockets) {
		err = os.RemoveAll(r.Sockets)
	}
	return true, errors.Join(err, os.RemoveAll(dir))
}

// isSocketDir guards the removal of a folder that only a file names.
func isSocketDir(path string) bool {
	return path != "" && filepath.Dir(path) == filepath.Clean(os.TempDir()) && strings.HasPrefix(filepath.Base(path), socketPrefix)
}

// kill ends the record's process and waits until it is gone.
func (r *record) kill(ctx context.Context) error {
	// The handle is taken before the look: it cannot come to mean another process.
	p, err := os.FindProcess(r.PID)
	if err != nil || !r.running() {
		return nil
	}
	defer p.Release()
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sweep: kill: %d: %w", r.PID, err)
	}
	for r.running() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("sweep: process %d does not end: %w", r.PID, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
