package multipass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// The states of an instance that this driver acts on; there are more.
const (
	stateRunning   = "Running"
	stateStopped   = "Stopped"
	stateSuspended = "Suspended"
	stateDeleted   = "Deleted"
)

// An instance is what info says of one.
type instance struct {
	State string          `json:"state"`
	Disks json.RawMessage `json:"disks"`
}

// used is how many bytes of its disks the guest uses; 0 if that is not known.
func (i instance) used() int64 {
	var disks map[string]struct{ Used string }
	if json.Unmarshal(i.Disks, &disks) != nil {
		return 0
	}
	var sum int64
	for _, d := range disks {
		if n, err := strconv.ParseInt(d.Used, 10, 64); err == nil {
			sum += n
		}
	}
	return sum
}

// do makes a call about machines.
func (d *driver) do(ctx context.Context, c cli.Call) (cli.Result, error) {
	r, err := d.tool.Do(ctx, c)
	return r, understood(err)
}

func (d *driver) run(ctx context.Context, args ...string) (cli.Result, error) {
	return d.do(ctx, cli.Call{Args: args})
}

// info asks for one instance. One that is deleted and not purged is
// fs.ErrNotExist, as one that never was.
func (d *driver) info(ctx context.Context, id string) (instance, error) {
	r, err := d.do(ctx, cli.Call{Args: []string{"info", id, "--format", "json"}, Limit: askLimit})
	if err != nil {
		return instance{}, err
	}
	var answer struct {
		Info map[string]instance `json:"info"`
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return instance{}, fmt.Errorf("multipass info: got %.200q, want JSON: %w", r.Stdout, err)
	}
	i, found := answer.Info[id]
	switch {
	case !found:
		return i, fmt.Errorf("multipass info: got no instance %s: %w", id, fs.ErrNotExist)
	case i.State == stateDeleted:
		return i, fmt.Errorf("instance %s is deleted: %w; \"multipass recover %s\" brings it back", id, fs.ErrNotExist, id)
	}
	return i, nil
}

// in returns nil if the instance is in that state.
func (d *driver) in(ctx context.Context, id, state string) error {
	i, err := d.info(ctx, id)
	if err == nil && i.State != state {
		err = fmt.Errorf("instance %s: got state %q, want %q: %w", id, i.State, state, cli.ErrState)
	}
	return err
}

// machines lists all instances.
func (d *driver) machines(ctx context.Context) ([]string, error) {
	r, err := d.do(ctx, cli.Call{Args: []string{"list", "--format", "json"}, Limit: askLimit})
	if err != nil {
		return nil, err
	}
	var answer struct {
		List []struct {
			Name string `json:"name"`
		} `json:"list"`
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return nil, fmt.Errorf("multipass list: got %.200q, want JSON: %w", r.Stdout, err)
	}
	var names []string
	for _, i := range answer.List {
		names = append(names, i.Name)
	}
	return names, nil
}

// snapshots lists the snapshots of all instances, as INSTANCE.SNAPSHOT.
func (d *driver) snapshots(ctx context.Context) ([]string, error) {
	r, err := d.do(ctx, cli.Call{Args: []string{"list", "--snapshots", "--format", "json"}, Limit: askLimit})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Info map[string]map[string]json.RawMessage `json:"info"`
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return nil, fmt.Errorf("multipass list --snapshots: got %.200q, want JSON: %w", r.Stdout, err)
	}
	var names []string
	for instance, snapshots := range answer.Info {
		for snapshot := range snapshots {
			names = append(names, instance+"."+snapshot)
		}
	}
	return names, nil
}

// destroy removes an instance, or, as INSTANCE.SNAPSHOT, a snapshot, for good. It
// never purges what others deleted. What is not there is fs.ErrNotExist.
func (d *driver) destroy(ctx context.Context, what string) error {
	_, err := d.run(ctx, "delete", "--purge", what)
	if errors.Is(err, cli.ErrState) && !strings.Contains(what, ".") {
		if _, stop := d.run(ctx, "stop", "--force", what); stop == nil {
			_, err = d.run(ctx, "delete", "--purge", what)
		}
	}
	if err != nil || strings.Contains(what, ".") {
		return err
	}
	i, err := d.info(ctx, what)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		err = fmt.Errorf("multipass delete --purge %s said nothing, and the instance is %s", what, i.State)
	}
	return err
}

// sweepSnapshots destroys the snapshots that an owner left of instances that were
// not its own.
func (d *driver) sweepSnapshots(ctx context.Context, owner string, instances []string) error {
	if !slices.ContainsFunc(instances, func(id string) bool { return !cli.Ours(id) }) {
		return nil
	}
	h, err := d.host(ctx)
	if err != nil {
		return err
	}
	if _, none := h.lacks(vm.CapSnapshot); none {
		return nil
	}
	all, err := d.snapshots(ctx)
	problems := []error{err}
	for _, s := range all {
		id, tag, _ := strings.Cut(s, ".")
		if cli.Owned(owner, tag) && !cli.Ours(id) {
			problems = append(problems, cli.Gone(d.destroy(ctx, s)))
		}
	}
	return errors.Join(problems...)
}

// copyOwner owns the copies that an owner's forks are made of, so that their
// names meet no machine's.
func copyOwner(owner string) string { return "copies of " + owner }

// bootMax is how long a start may take; --timeout counts in seconds.
const bootMax = 5 * time.Minute

// start starts an instance and returns when Multipass calls it running. One that
// runs is left as it is.
func (d *driver) start(ctx context.Context, id string) error {
	limit := strconv.Itoa(int(bootMax / time.Second))
	_, err := d.do(ctx, cli.Call{Args: []string{"start", id, "--timeout", limit}, Limit: bootMax + time.Minute})
	if errors.Is(err, errBoot) {
		return &vm.BootError{Err: err}
	}
	if err != nil {
		return err
	}
	return d.in(ctx, id, stateRunning)
}

// stop shuts an instance down.
func (d *driver) stop(ctx context.Context, id string) error {
	if _, err := d.do(ctx, cli.Call{Args: []string{"stop", id}, Limit: bootMax}); err != nil {
		return err
	}
	return d.in(ctx, id, stateStopped)
}
