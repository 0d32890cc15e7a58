package parallels

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"assay/drivers/internal/cli"
)

// states in which a machine stays until somebody does something.
const (
	stopped   = "stopped"
	running   = "running"
	suspended = "suspended" // to disk
	paused    = "paused"    // in memory
)

// list returns the virtual machines; more are further options.
func (d *driver) list(ctx context.Context, more ...string) ([]cli.Listed, error) {
	args := append([]string{"list", "--all", "--no-header", "--json", "-o", "name,uuid,status"}, more...)
	r, err := d.do(ctx, call(args...))
	if err != nil {
		return nil, err
	}
	var entries []struct{ UUID, Name, Status string }
	if err := decode(r.Stdout, &entries); err != nil {
		return nil, fmt.Errorf("prlctl list: %w", err)
	}
	var list []cli.Listed
	for _, e := range entries {
		list = append(list, cli.Listed{ID: strings.Trim(e.UUID, "{}"), Name: e.Name, State: e.Status})
	}
	return list, nil
}

// find returns the one virtual machine of that name or id.
func (d *driver) find(ctx context.Context, name string) (cli.Listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return cli.Listed{}, err
	}
	return cli.Pick(list, "Parallels", name)
}

// lent finds a machine of the user's by the word that every test uses.
func (d *driver) lent(ctx context.Context, name string) (cli.Listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return cli.Listed{}, err
	}
	l, err := cli.Pick(list, "Parallels", name)
	if err != nil {
		return l, err
	}
	return l, cli.LentOf(list, name, l)
}

// template returns the one virtual machine or template of that name or id.
func (d *driver) template(ctx context.Context, name string) (cli.Listed, error) {
	list, err := d.list(ctx)
	if err != nil {
		return cli.Listed{}, err
	}
	more, err := d.list(ctx, "--template")
	if err != nil {
		return cli.Listed{}, err
	}
	for _, l := range more {
		if !slices.Contains(list, l) {
			list = append(list, l)
		}
	}
	return cli.Pick(list, "Parallels", name)
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
