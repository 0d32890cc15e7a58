//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"assay/platform"
)

// Parts of a stage's folder that tell who is alive and what it started.
const (
	stagePrefix  = "bench-"
	stageLock    = "lock"
	domainPrefix = "libvirt-" // of the folder of a domain
)

// holdStage marks a stage's folder as used for as long as the file is open. The
// file comes to its name locked: nobody meets one that is not.
func holdStage(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, stageLock+".new"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = platform.Lock(f, platform.Exclusive)
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, stageLock))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweepStages removes what runs left in parent that were killed. Their machines
// died with them, but for those that libvirt's daemons started.
func sweepStages(parent string, say func(string)) error {
	locks, err := filepath.Glob(filepath.Join(parent, stagePrefix+"*", stageLock))
	if err != nil {
		return err
	}
	var errs []error
	for _, lock := range locks {
		swept, err := sweepStage(lock)
		if swept {
			say("swept " + filepath.Dir(lock) + ", which a run left that was killed")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweepStage removes the folder of a lock that nobody holds, if it is this user's.
func sweepStage(lock string) (bool, error) {
	f, err := os.OpenFile(lock, os.O_RDWR|platform.NoFollow, 0)
	if err != nil {
		return false, nil // gone, or another user's
	}
	defer f.Close()
	dir := filepath.Dir(lock)
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !platform.Owned(info) || platform.Lock(f, platform.Exclusive) != nil {
		return false, nil
	}
	st := &Stage{dir: dir}
	return true, errors.Join(st.sweepDomains(), sweepDaemons(dir), os.RemoveAll(dir))
}

// sweepDomains destroys the domains that the stage's run had.
func (st *Stage) sweepDomains() error {
	dirs, err := filepath.Glob(filepath.Join(st.dir, domainPrefix+"*"))
	for _, dir := range dirs {
		if _, running := st.virsh(context.Background(), "version"); running != nil {
			return nil // no daemon, no domain
		}
		err = errors.Join(err, (&domain{st: st, dir: dir, name: domainName(dir)}).close())
	}
	return err
}

// domainName names the domain whose files are in dir.
func domainName(dir string) string { return stagePrefix + filepath.Base(dir) }

// sweepDaemons ends the daemons that wrote their process ids into dir, if these
// are still theirs.
func sweepDaemons(dir string) (err error) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid")) // the pattern is well-formed
	for _, file := range files {
		data, _ := os.ReadFile(file)
		pid, bad := strconv.Atoi(strings.TrimSpace(string(data)))
		if bad != nil {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
		if bytes.Contains(args, []byte(file)) {
			err = errors.Join(err, endDaemon(file))
		}
	}
	return err
}
