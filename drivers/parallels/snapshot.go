package parallels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// savePrefix begins the names of our snapshots in Parallels, which are not unique
// there: a snapshot is known by its id.
const savePrefix = "assay-"

// saveLimit bounds a snapshot of a machine with much memory.
const saveLimit = 15 * time.Minute

var guid = regexp.MustCompile(`\{[0-9a-fA-F-]{36}\}`)

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Snapshot implements vm.Snapshotter.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	return m.Control(ctx, "snapshot", func(ctx context.Context) error { return m.save(ctx, name) })
}

func (m *machine) save(ctx context.Context, name string) error {
	if err := m.saved.Free(name); err != nil {
		return err
	}
	if err := m.flush(ctx); err != nil {
		return err
	}
	m.Cut()
	r, err := m.d.do(ctx, cli.Call{Args: []string{"snapshot", m.uuid, "--name", savePrefix + name}, Limit: saveLimit})
	if err != nil {
		return err
	}
	id := guid.FindString(string(r.Stdout))
	known, err := m.snapshots(ctx)
	if err != nil {
		return err
	}
	if _, ok := known[id]; !ok {
		return fmt.Errorf("%q: prlctl says %.200q, and the machine has no such snapshot", name, r.Text())
	}
	m.saved.Add(name, id)
	if m.found != "" {
		m.loan.owe(id)
	}
	return m.ready(ctx)
}

// flush lets the guest write to its disk what it has in memory: a fork boots from
// the disk alone.
func (m *machine) flush(ctx context.Context) error {
	if m.socket == "" {
		_, err := tools{m}.Exec(ctx, []string{"sync"}, nil)
		return err
	}
	c, err := m.await(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Exec(ctx, guest.Command{Shell: "sync", User: "root", Timeout: flushLimit}, nil, nil, nil)
	return err
}

// flushLimit bounds what a guest may take for that.
const flushLimit = 2 * time.Minute

// A saved state, as Parallels lists it.
type savedState struct {
	Name  string
	State string // poweron: it has the memory
}

// snapshots lists the machine's snapshots by id. None is no output at all.
func (m *machine) snapshots(ctx context.Context) (map[string]savedState, error) {
	r, err := m.d.do(ctx, call("snapshot-list", m.uuid, "--json"))
	if err != nil || r.Text() == "" {
		return nil, err
	}
	var known map[string]savedState
	if err := decode(r.Stdout, &known); err != nil {
		return nil, fmt.Errorf("prlctl snapshot-list: %w", err)
	}
	return known, nil
}

// Restore implements vm.Snapshotter.
func (m *machine) Restore(ctx context.Context, name string) error {
	return m.Control(ctx, "restore", func(ctx context.Context) error { return m.restore(ctx, name) })
}

func (m *machine) restore(ctx context.Context, name string) error {
	id, err := m.saved.ID(name)
	if err != nil {
		return err
	}
	m.Cut()
	if _, err := m.d.do(ctx, cli.Call{Args: []string{"snapshot-switch", m.uuid, "--id", id}, Limit: saveLimit}); err != nil {
		return err
	}
	if err := m.goOn(ctx); err != nil {
		return err
	}
	if m.down { // the snapshot may have been taken before
		if err := m.pull(ctx, false); err != nil {
			return err
		}
	}
	return m.ready(ctx)
}

// goOn lets the machine run, in whichever state a snapshot has left it.
func (m *machine) goOn(ctx context.Context) error {
	var state string
	err := m.d.arrival("a state of "+m.name+" that lasts", nil).Wait(ctx, func(ctx context.Context) (bool, error) {
		l, err := m.d.find(ctx, m.uuid)
		state = l.State
		return state == running || state == stopped || state == suspended || state == paused, err
	})
	switch {
	case err != nil || state == running:
		return err
	case state == paused:
		return m.d.reach(ctx, m.uuid, running, m.d.run(ctx, "resume", m.uuid))
	}
	return m.d.start(ctx, m.uuid)
}

// BootsForks implements vm.ColdForker.
func (m *machine) BootsForks() {}

// Fork implements vm.Forker: a linked clone of the snapshot's disk, which boots.
func (m *machine) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	var child *machine
	err := m.Control(ctx, "fork", func(ctx context.Context) (err error) {
		child, err = m.fork(ctx, snapshot, spec)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(spec.Dir))
	}
	return child, nil
}

func (m *machine) fork(ctx context.Context, snapshot string, spec vm.Spec) (*machine, error) {
	id, err := m.saved.ID(snapshot)
	if err != nil {
		return nil, err
	}
	spec.Image, spec.CPUs, spec.Memory, spec.Disk, spec.Network = m.spec.Image, m.spec.CPUs, m.spec.Memory, m.spec.Disk, m.spec.Network
	parent := m.name
	if m.found != "" {
		parent = "" // not ours to keep
	}
	child, err := m.d.add(ctx, spec, parent)
	if err != nil {
		return nil, err
	}
	child.loan = m.loan.take()
	err = child.clone(ctx, m.uuid, "--linked", "--id", id)
	if err == nil {
		err = child.outfit(ctx)
	}
	if err == nil && m.socket != "" {
		err = child.rewire(ctx)
	}
	if err == nil {
		err = child.begin(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return child, nil
}

// rewire gives a clone a seed disk, a console and a line of its own.
func (m *machine) rewire(ctx context.Context) error {
	if err := m.writeSeed(); err != nil {
		return err
	}
	f, err := m.d.facts(ctx, m.uuid)
	if err != nil {
		return err
	}
	drives, ports := f.devices("cdrom"), f.devices("serial")
	if len(drives) == 0 || len(ports) < 2 {
		return fmt.Errorf("the clone has the devices %s, want a drive and two serial ports", strings.Join(append(drives, ports...), ", "))
	}
	return m.wire(ctx, "--device-set", drives[len(drives)-1], ports[0], ports[1])
}
