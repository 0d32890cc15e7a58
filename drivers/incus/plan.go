package incus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// A plan is what an instance is made of, but for its image.
type plan struct {
	config  map[string]string
	devices map[string]map[string]string
}

// minMemory is the least that a guest boots in.
const minMemory = 64 << 20

// plan decides how spec's machine is made, and refuses what the server does not
// have, before anything starts.
func (s *server) plan(ctx context.Context, spec vm.Spec) (plan, error) {
	if spec.CPUs < 1 {
		return plan{}, fmt.Errorf("cpus: got %d, want at least 1", spec.CPUs)
	}
	if spec.Memory < minMemory {
		return plan{}, fmt.Errorf("memory: got %s, want at least %s", cli.Bytes(spec.Memory), cli.Bytes(minMemory))
	}
	if err := cli.AllOrNothing(driverName, spec.Network); err != nil {
		return plan{}, err
	}
	pool, err := s.pool(ctx)
	if err != nil {
		return plan{}, err
	}
	if err := s.fits(ctx, spec, pool.name); err != nil {
		return plan{}, err
	}
	p := plan{config: s.config(spec), devices: map[string]map[string]string{}}
	if spec.Network.Mode == vm.NetworkOpen {
		if len(pool.cards) == 0 {
			return plan{}, &vm.UnsupportedError{Machine: driverName, Want: `network "open"`,
				Instead: "the server's default profile has no network card: type \"" + s.tool.Name + " network create assaybr0\" and \"" + s.tool.Name + " network attach-profile assaybr0 default eth0\""}
		}
		p.devices = pool.cards
	}
	p.devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": pool.name}
	if size := max(spec.Disk, spec.Image.Size); size > 0 {
		p.devices["root"]["size"] = strconv.FormatInt(size, 10)
	}
	if !s.container() {
		p.devices["root"]["size.state"] = strconv.FormatInt(spec.Memory+stateMargin, 10)
	}
	return p, nil
}

// stateMargin is what a virtual machine's saved memory may take beyond it.
const stateMargin = 512 << 20

// maxTasks bounds a container's processes: the kernel that they would fill is
// the host's.
const maxTasks = 4096

// config is the settings of a new instance. A machine must not come back to life
// with its host, nor talk to the server.
func (s *server) config(spec vm.Spec) map[string]string {
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		dir = spec.Dir
	}
	c := map[string]string{
		"boot.autostart": "false",
		"limits.cpu":     strconv.Itoa(spec.CPUs),
		"limits.memory":  strconv.FormatInt(spec.Memory, 10),
		dirKey:           dir,
	}
	if s.lxd {
		c["security.devlxd"] = "false"
	} else {
		c["security.guestapi"] = "false"
	}
	if s.container() {
		c["limits.processes"] = strconv.Itoa(maxTasks)
		c["security.privileged"] = "false"
	} else {
		c["migration.stateful"] = "true"
		c["security.secureboot"] = "false"
	}
	return c
}

// fits compares spec with what the server's host has.
func (s *server) fits(ctx context.Context, spec vm.Spec, pool string) error {
	switch {
	case spec.CPUs > s.cpus:
		return &vm.ResourceError{What: "cpus", Got: strconv.Itoa(spec.CPUs), Has: strconv.Itoa(s.cpus)}
	case spec.Memory > s.memory:
		return &vm.ResourceError{What: "memory", Got: cli.Bytes(spec.Memory), Has: cli.Bytes(s.memory)}
	case spec.Disk == 0:
		return nil
	}
	var disk struct {
		Space struct{ Total, Used int64 }
	}
	if err := s.get(ctx, "/1.0/storage-pools/"+url.PathEscape(pool)+"/resources", &disk); err != nil {
		return err
	}
	if free := disk.Space.Total - disk.Space.Used; disk.Space.Total > 0 && spec.Disk > free {
		return &vm.ResourceError{What: "disk", Got: cli.Bytes(spec.Disk), Has: cli.Bytes(free) + " free in the storage pool " + pool}
	}
	return nil
}

// A pool is where instances go, and what the default profile connects them to.
type pool struct {
	name  string
	cards map[string]map[string]string // the profile's network cards
}

// pool returns the default profile's storage pool, else the first that there is.
func (s *server) pool(ctx context.Context) (pool, error) {
	var profile struct {
		Devices map[string]map[string]string
	}
	err := s.get(ctx, "/1.0/profiles/default", &profile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pool{}, err
	}
	p := pool{cards: cards(profile.Devices)}
	for _, d := range profile.Devices {
		if d["type"] == "disk" && d["path"] == "/" {
			p.name = cmp.Or(p.name, d["pool"])
		}
	}
	if p.name != "" {
		return p, nil
	}
	var pools []struct{ Name string }
	if err := s.get(ctx, "/1.0/storage-pools?recursion=1", &pools); err != nil {
		return p, err
	}
	if len(pools) == 0 {
		return p, &vm.UnavailableError{Driver: driverName, Reason: "the server has no storage pool", Fix: s.tool.Name + " storage create default dir"}
	}
	slices.SortFunc(pools, func(a, b struct{ Name string }) int { return cmp.Compare(a.Name, b.Name) })
	p.name = pools[0].Name
	return p, nil
}

// create makes an instance of its own, without profiles, that does not run yet.
func (s *server) create(ctx context.Context, name string, p plan, source map[string]any) error {
	return s.change(ctx, name, "POST", "/1.0/instances", map[string]any{
		"name": name, "type": s.kind, "source": source, "config": p.config, "devices": p.devices, "profiles": []string{},
	})
}
