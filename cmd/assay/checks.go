package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"assay"
	"assay/images"
	"assay/platform"
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
	checks := []check{cpuCheck(platform.Virtualisation()), memoryCheck(platform.Memory()), a.diskCheck(), networkCheck()}
	drivers := a.driverChecks(ctx)
	checks = append(append(checks, drivers...), a.choiceCheck(ctx, drivers))
	checks = append(checks, toolChecks(buildsImages(drivers))...)
	return append(checks, a.agentCheck(), a.imagesCheck(), a.resultsCheck())
}

// cpuCheck: without virtualisation everything works, and slower.
func cpuCheck(v platform.Virtual) check {
	c := check{Name: "processor", State: good, Found: fmt.Sprintf("%d, with %s", runtime.NumCPU(), v.Found)}
	if !v.Usable {
		c.State, c.Found, c.Fix = warn, fmt.Sprintf("%d; %s", runtime.NumCPU(), v.Found), v.Fix
	}
	return c
}

func memoryCheck(all, available int64) check {
	c := check{Name: "memory", State: good, Found: fmt.Sprintf("%s of %s free", bytesText(available), bytesText(all))}
	switch {
	case all == 0:
		c.State, c.Found = warn, "this system does not say how much there is"
	case available < wantMemory:
		c.State, c.Fix = warn, "close other programs: a machine needs 512 MiB, and assay some more; \"assay run --fit\" makes machines smaller"
	}
	return c
}

func (a *app) diskCheck() check {
	c := check{Name: "disk", State: good}
	free, err := platform.FreeSpace(a.home)
	if err != nil {
		c.State, c.Found = warn, err.Error()
		return c
	}
	c.Found = fmt.Sprintf("%s free for %s", bytesText(free), a.home)
	switch {
	case free < wantDisk:
		c.State, c.Fix = bad, "assay gc, or set ASSAY_HOME to a folder with "+bytesText(wantDisk)+" free"
	case free < easyDisk:
		c.State = warn
	}
	return c
}

// networkCheck looks for a way out of this host. Machines need none; images that
// are to be built or fetched do.
func networkCheck() check {
	c := check{Name: "network", State: good}
	var up []string
	interfaces, err := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		if addresses, err := i.Addrs(); err == nil && slices.ContainsFunc(addresses, isGlobal) {
			up = append(up, i.Name)
		}
	}
	c.Found = strings.Join(up, ", ")
	if err != nil || len(up) == 0 {
		c.State, c.Found = warn, "down: images cannot be built or fetched; machines of those that are here work"
		c.Fix = "connect this host, or \"assay image import FILE\""
	}
	return c
}

func isGlobal(a net.Addr) bool {
	ip, ok := a.(*net.IPNet)
	return ok && ip.IP.IsGlobalUnicast()
}

func nonFlags(s string) []string {
	return slices.DeleteFunc(strings.Fields(s), func(w string) bool { return strings.HasPrefix(w, "-") })
}

// buildsImages reports whether images must be built here: some driver that can be
// used, or none yet, boots no images of its own.
func buildsImages(drivers []check) bool {
	if runtime.GOOS != "linux" {
		return false
	}
	own, usable := true, false
	for _, c := range drivers {
		if c.Driver != nil && c.Driver.Usable {
			usable, own = true, own && c.Driver.Fetches
		}
	}
	return !usable || !own
}

// toolChecks looks for the programs that build images. Where nothing needs to be
// built they are not missed.
func toolChecks(needed bool) []check {
	var checks []check
	for _, tool := range images.Tools() {
		c := check{Name: tool.Command, State: good, Why: tool.Why}
		path, err := exec.LookPath(tool.Command)
		if c.Found = path; err != nil {
			c.State, c.Found = bad, "not installed; for "+tool.Why
			c.Packages, c.Fix = []string{tool.Package}, "apt-get install "+tool.Package
			if !needed {
				c.State = off
			}
		}
		checks = append(checks, c)
	}
	return checks
}

func (a *app) agentCheck() check {
	data, err := agent()
	if err != nil {
		return check{Name: "agent", State: bad, Found: err.Error(), Fix: "make build"}
	}
	return check{Name: "agent", State: good, Found: bytesText(int64(len(data))) + ", for " + runtime.GOARCH + " guests"}
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

// choiceCheck says which driver runs what names none.
func (a *app) choiceCheck(ctx context.Context, drivers []check) check {
	c := check{Name: "driver", State: good}
	name, where, err := a.preferred()
	if err == nil && name == "" {
		i := slices.IndexFunc(drivers, func(c check) bool { return c.Driver != nil && c.Driver.Usable })
		if i < 0 {
			c.State, c.Found = bad, "no hypervisor can be used here"
			c.Fix = "install one of those above"
			return c
		}
		c.Found = drivers[i].Name + ", the first that can be used; --driver, a script, $" + driverVariable + " and " + configName + " choose another"
		return c
	}
	if err == nil {
		_, err = a.choose(ctx)
	}
	c.Found = name + ", as " + where + " says"
	i := slices.IndexFunc(drivers, func(c check) bool { return c.Name == name })
	switch {
	case err != nil:
		c.State, c.Found = bad, err.Error()
	case i >= 0 && drivers[i].Driver != nil && !drivers[i].Driver.Usable:
		c.State, c.Found, c.Fix = bad, c.Found+", but it cannot be used: "+drivers[i].Found, drivers[i].Fix
	}
	return c
}

// A driverReport is what doctor --json says of a driver.
type driverReport struct {
	Name    string   `json:"name"`
	Usable  bool     `json:"usable"`
	Here    bool     `json:"here"`    // it is for this host's system
	Fetches bool     `json:"fetches"` // images by names of its own
	Adopts  bool     `json:"adopts"`  // machines that are there already: launch(existing = …)
	Info    *vm.Info `json:"info,omitempty"`
	Card    vm.Card  `json:"card"`
}
