package engine

import (
	"io/fs"
	"path/filepath"
	"time"

	"assay"
)

// Remains returns what the folders of a dead run tell before Collect removes
// them: the last moment at which something in them changed, zero if there is
// nothing, and the machines that it had, by the ids of their cells.
func Remains(stateDir, id string) (until time.Time, machines map[string][]assay.Machine) {
	run := filepath.Join(stateDir, "run", filepath.Base(id))
	machines = map[string][]assay.Machine{}
	for _, dir := range append(cellDirs(run), run) {
		until = latest(until, lastChange(dir))
		closed, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+closedSuffix)) // the pattern is well-formed
		for _, file := range append(closed, ledgers(dir)...) {
			if l, err := readLive(file); err == nil && l.Starting == "" {
				machines[l.Cell] = append(machines[l.Cell], l.record())
			}
		}
	}
	return until, machines
}

// Abandoned lists the machines of others that a dead run was using. Nobody gives
// them back: what they were before, only their user can tell.
func Abandoned(stateDir, id string) (all []Live) {
	for _, dir := range cellDirs(filepath.Join(stateDir, "run", filepath.Base(id))) {
		for _, file := range ledgers(dir) {
			if l, err := readLive(file); err == nil && l.Existing != "" {
				all = append(all, l)
			}
		}
	}
	return all
}

// record returns what is known of the machine.
func (l Live) record() assay.Machine {
	if l.Machine != nil {
		return *l.Machine
	}
	return assay.Machine{ID: l.ID, Image: l.Image, Driver: l.Driver}
}

// lastChange returns when the newest file below dir was written.
func lastChange(dir string) (last time.Time) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // what cannot be read tells nothing
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			last = latest(last, info.ModTime())
		}
		return nil
	})
	return last
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
