package parallels

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// entry is a line of prlctl's list.
type entry struct {
	UUID, Name, Status string
}

// states in which a machine stays until somebody does something.
const (
	stopped   = "stopped"
	running   = "running"
	suspended = "suspended" // to disk
	paused    = "paused"    // in memory
)

// list returns the virtual machines; more are further options.
func (d *driver) list(ctx context.Context, more ...string) ([]entry, error) {
	args := append([]string{"list", "--all", "--no-header", "--json", "-o", "name,uuid,status"}, more...)
	r, err := d.do(ctx, call(args...))
	if err != nil {
		return nil, err
	}
	var list []entry
	if err := decode(r.Stdout, &list); err != nil {
		return nil, fmt.Errorf("prlctl list: %w", err)
	}
	for i := range list {
		list[i].UUID = strings.Trim(list[i].UUID, "{}")
	}
	return list, nil
}

// find returns the one virtual machine of that name or id.
func (d *driver) find(ctx context.Context, name string) (entry, error) {
	list, err := d.list(ctx)
	if err != nil {
		return entry{}, err
	}
	return pick(list, name)
}

// template returns the one virtual machine or template of that name or id.
func (d *driver) template(ctx context.Context, name string) (entry, error) {
	list, err := d.list(ctx)
	if err != nil {
		return entry{}, err
	}
	more, err := d.list(ctx, "--template")
	if err != nil {
		return entry{}, err
	}
	for _, e := range more {
		if !slices.ContainsFunc(list, func(known entry) bool { return known.UUID == e.UUID }) {
			list = append(list, e)
		}
	}
	return pick(list, name)
}

func pick(list []entry, name string) (entry, error) {
	var found []entry
	for _, e := range list {
		if e.Name == name || strings.EqualFold(e.UUID, strings.Trim(name, "{}")) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return entry{}, fmt.Errorf("no virtual machine %q in Parallels: %w", name, fs.ErrNotExist)
	case 1:
		return found[0], nil
	}
	return entry{}, fmt.Errorf("got %d virtual machines called %q, want one; name it by its UUID, see \"prlctl list --all\"", len(found), name)
}

// facts are what Parallels knows of one virtual machine.
type facts struct {
	Home     string // its bundle
	Hardware map[string]json.RawMessage
}

// facts asks for them.
func (d *driver) facts(ctx context.Context, uuid string) (facts, error) {
	r, err := d.do(ctx, call("list", uuid, "-i", "-f", "--json"))
	if err != nil {
		return facts{}, err
	}
	var all []facts
	if err := decode(r.Stdout, &all); err != nil {
		return facts{}, fmt.Errorf("prlctl list -i: %w", err)
	}
	if len(all) != 1 {
		return facts{}, fmt.Errorf("prlctl list -i: got %d machines, want 1", len(all))
	}
	return all[0], nil
}

// devices lists the devices of a kind by number: net0, net1 …
func (f facts) devices(kind string) []string {
	var names []string
	for name := range f.Hardware {
		if number, ok := strings.CutPrefix(name, kind); ok && digits.MatchString(number) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

var digits = regexp.MustCompile(`^\d{1,3}$`)

// size returns the bytes of a disk, 0 if it is not said: "65536Mb".
func (f facts) size(device string) int64 {
	var disk struct {
		Size string `json:"size"`
	}
	var mib int64
	if json.Unmarshal(f.Hardware[device], &disk) != nil {
		return 0
	}
	if _, err := fmt.Sscanf(disk.Size, "%dMb", &mib); err != nil {
		return 0
	}
	return mib << 20
}
