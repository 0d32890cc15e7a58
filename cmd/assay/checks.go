package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"assay"
	"assay/images"
	"assay/results"
	"assay/vm"
)

// What a host should have.
const (
	wantMemory = 1 << 30 // one small machine, and assay
	wantDisk   = 2 << 30 // one image, its packages and a machine
	easyDisk   = 5 << 30
)

// examine makes every check, in the order in which doctor shows them.
func (a *app) examine(ctx context.Context) []check {
	checks := []check{cpuCheck()}
	for i, d := range a.drivers() {
		checks = append(checks, driverCheck(ctx, d, i == 0))
	}
	checks = append(checks, toolChecks()...)
	return append(checks, memoryCheck(), a.diskCheck(), a.agentCheck(), a.imagesCheck(), a.resultsCheck())
}

func cpuCheck() check {
	c := check{Name: "processor", State: good}
	info, _ := os.ReadFile("/proc/cpuinfo") // a host without it is told that it has no flags
	flags := strings.Fields(string(info))
	switch {
	case slices.Contains(flags, "vmx"):
		c.Found = fmt.Sprintf("%d, with VT-x", runtime.NumCPU())
	case slices.Contains(flags, "svm"):
		c.Found = fmt.Sprintf("%d, with AMD-V", runtime.NumCPU())
	default:
		c.State, c.Found = warn, fmt.Sprintf("%d, without VT-x or AMD-V: guests are emulated, which works and is slower", runtime.NumCPU())
	}
	return c
}

// driverCheck probes a driver; without the default one nothing works.
func driverCheck(ctx context.Context, d vm.Driver, needed bool) check {
	c := check{Name: d.Name(), State: good}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := d.Probe(ctx)
	if err == nil {
		c.Found = info.Version
		if info.Accel != "" {
			c.Found += ", " + info.Accel
		}
		if info.Detail != "" {
			c.Found += ": " + info.Detail
		}
		return c
	}
	c.State, c.Found = warn, err.Error()
	if needed {
		c.State = bad
	}
	if u := (*vm.UnavailableError)(nil); errors.As(err, &u) {
		c.Found, c.Fix = u.Reason, u.Fix
		if packages, ok := strings.CutPrefix(u.Fix, "apt-get install "); ok {
			c.Packages, c.Why = nonFlags(packages), "running machines"
		}
	}
	return c
}

func nonFlags(s string) []string {
	return slices.DeleteFunc(strings.Fields(s), func(w string) bool { return strings.HasPrefix(w, "-") })
}

// toolChecks looks for the programs that build images.
func toolChecks() []check {
	var checks []check
	for _, tool := range images.Tools() {
		c := check{Name: tool.Command, State: good, Why: tool.Why}
		path, err := exec.LookPath(tool.Command)
		if c.Found = path; err != nil {
			c.State, c.Found = bad, "not installed; for "+tool.Why
			c.Packages, c.Fix = []string{tool.Package}, "apt-get install "+tool.Package
		}
		checks = append(checks, c)
	}
	return checks
}

func memoryCheck() check {
	c := check{Name: "memory", State: good}
	info, _ := os.ReadFile("/proc/meminfo")
	values := map[string]int64{}
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) >= 2 {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			values[strings.TrimSuffix(f[0], ":")] = kib << 10
		}
	}
	free := values["MemAvailable"]
	c.Found = fmt.Sprintf("%s of %s free", bytesText(free), bytesText(values["MemTotal"]))
	if free < wantMemory {
		c.State, c.Fix = warn, "close other programs: a machine needs 512 MiB, and assay some more"
	}
	return c
}

func (a *app) diskCheck() check {
	c := check{Name: "disk", State: good}
	dir := a.home
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		c.State, c.Found = warn, err.Error()
		return c
	}
	free := int64(st.Bavail) * st.Bsize
	c.Found = fmt.Sprintf("%s free for %s", bytesText(free), a.home)
	switch {
	case free < wantDisk:
		c.State, c.Fix = bad, "assay gc, or set ASSAY_HOME to a folder with "+bytesText(wantDisk)+" free"
	case free < easyDisk:
		c.State = warn
	}
	return c
}

func (a *app) agentCheck() check {
	data, err := agent()
	if err != nil {
		return check{Name: "agent", State: bad, Found: err.Error(), Fix: "make build"}
	}
	return check{Name: "agent", State: good, Found: bytesText(int64(len(data)))}
}

func (a *app) imagesCheck() check {
	c := check{Name: "images", State: good}
	store, err := a.store()
	var entries []images.Entry
	if err == nil {
		entries, err = store.List()
	}
	if err != nil {
		c.State, c.Found = bad, err.Error()
		return c
	}
	var here []string
	for _, e := range entries {
		if e.Problem != "" {
			c.State, c.Fix = warn, "assay image rm "+e.Name
			here = append(here, e.Name+" ("+e.Problem+")")
		} else if e.Present {
			here = append(here, e.Name)
		}
	}
	if c.Found = strings.Join(here, ", "); len(here) == 0 {
		c.State, c.Found, c.Fix = warn, "none yet; the first run builds what it needs", "assay image build debian-12"
	}
	return c
}

func (a *app) resultsCheck() check {
	c := check{Name: "results", State: good}
	db, err := a.openDB()
	if nothing := (*nothingError)(nil); errors.As(err, &nothing) {
		c.Found = "none yet"
		return c
	}
	if err == nil {
		defer db.Close()
		var runs []assay.RunSummary
		runs, err = db.Runs(0, results.RunFilter{})
		c.Found = fmt.Sprintf("%d runs in %s", len(runs), a.dbPath())
	}
	if err != nil {
		c.State, c.Found = bad, err.Error()
		if damaged := (*results.Error)(nil); errors.As(err, &damaged) {
			c.Found, c.Fix = damaged.Path+": "+damaged.Reason, damaged.Remedy
		}
	}
	return c
}
