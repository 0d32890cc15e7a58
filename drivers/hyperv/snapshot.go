package hyperv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// checkpointPrefix begins the names of our checkpoints, which Hyper-V lets be
// equal: one is known by its id.
const checkpointPrefix = "assay-"

// KeepsMemory implements vm.MemorySnapshotter.
func (m *machine) KeepsMemory() {}

// Snapshot makes a checkpoint of the kind that has the memory.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	return m.inTurn(ctx, fmt.Sprintf("snapshot %q", name), func(ctx context.Context) error { return m.snapshot(ctx, name) })
}

func (m *machine) snapshot(ctx context.Context, name string) error {
	if _, err := m.checkpoint(name); err == nil {
		return fs.ErrExist
	}
	if err := m.alive(ctx); err != nil {
		return err
	}
	m.line.Cut()
	var made about
	in := map[string]string{"id": m.id, "name": checkpointPrefix + strings.ToLower(rand.Text())}
	if err := m.d.askFor(ctx, restoreLimit, "checkpoint", in, &made); err != nil {
		return err
	}
	if made.ID == "" {
		return errors.New("powershell: the new checkpoint has no id")
	}
	m.mu.Lock()
	m.checkpoints[name] = made.ID
	m.mu.Unlock()
	return nil
}

// checkpoint returns a checkpoint's id.
func (m *machine) checkpoint(name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id := m.checkpoints[name]; id != "" {
		return id, nil
	}
	return "", fs.ErrNotExist
}

// Restore goes back to a checkpoint of this machine.
func (m *machine) Restore(ctx context.Context, name string) error {
	return m.inTurn(ctx, fmt.Sprintf("restore %q", name), func(ctx context.Context) error { return m.restore(ctx, name) })
}

func (m *machine) restore(ctx context.Context, name string) error {
	id, err := m.checkpoint(name)
	if err != nil {
		return err
	}
	m.line.Cut()
	in := map[string]string{"id": m.id, "checkpoint": id}
	if err := m.d.askFor(ctx, restoreLimit, "restore", in, nil); err != nil {
		return err
	}
	if m.pulled() { // the checkpoint may have been made before
		if err := m.plug(ctx, false); err != nil {
			return err
		}
	}
	return m.run(ctx)
}

// Fork makes a machine of its own from a checkpoint, with copies of its disks, and
// lets it run on from the checkpoint's memory.
func (m *machine) Fork(ctx context.Context, snapshot string, spec vm.Spec) (vm.Machine, error) {
	var child *machine
	err := m.inTurn(ctx, fmt.Sprintf("fork of %q", snapshot), func(ctx context.Context) (err error) {
		child, err = m.fork(ctx, snapshot, spec)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(spec.Dir))
	}
	return child, nil
}

// An importOrder is what fork.ps1 is told.
type importOrder struct {
	ID         string `json:"id"`
	Checkpoint string `json:"checkpoint"`
	Name       string `json:"name"`
	Export     string `json:"export"`
	Folder     string `json:"folder"`
	Disks      string `json:"disks"`
	Seed       string `json:"seed"` // empty: drives and ports stay as they are
	Console    string `json:"console"`
	Line       string `json:"line"`
}

func (m *machine) fork(ctx context.Context, snapshot string, spec vm.Spec) (*machine, error) {
	id, err := m.checkpoint(snapshot)
	if err != nil {
		return nil, err
	}
	child, err := m.child(spec)
	if err != nil {
		return nil, err
	}
	if err = child.clone(ctx, m.id, id); err == nil {
		err = child.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return child, nil
}

// child takes the name, a folder and a line for a fork.
func (m *machine) child(spec vm.Spec) (*machine, error) {
	child := m.d.machine(cli.Name(spec.Owner, spec.Name), spec.Dir)
	if err := m.d.place.Add(child.name, cli.Note{}); err != nil {
		return nil, err
	}
	child.socket, child.network = m.socket, m.network
	if m.pipe == "" { // the agent came in by the guest's own ways
		child.line = &guestLine{m: child}
		return child, nil
	}
	child.line = &hypervisorLine{m: child}
	text, err := m.Console()
	if err == nil {
		_, err = child.console.Write(text)
	}
	if err == nil {
		child.pipe, err = m.d.place.Socket(child.name)
	}
	if err == nil {
		err = child.writeSeed()
	}
	if err != nil {
		return nil, errors.Join(err, child.Close())
	}
	return child, nil
}

// clone imports a checkpoint as a new machine. As in make, the script runs to its
// end.
func (m *machine) clone(ctx context.Context, parent, checkpoint string) error {
	in := importOrder{
		ID: parent, Checkpoint: checkpoint, Name: m.name, Folder: m.d.place.Dir(m.name),
		Export: m.path(exportName), Disks: m.path(disksName),
	}
	if m.pipe != "" {
		in.Seed, in.Console, in.Line = m.path(seedName), m.pipe+consoleEnd, m.pipe
	}
	var made about
	if err := m.d.askFor(context.WithoutCancel(ctx), copyLimit, "fork", in, &made); err != nil {
		return err
	}
	return m.born(made.ID)
}

// forget deletes the checkpoints that were made of an adopted machine.
func (m *machine) forget(ctx context.Context) error {
	m.mu.Lock()
	var ids []string
	for _, id := range m.checkpoints {
		ids = append(ids, id)
	}
	m.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return m.d.askFor(ctx, restoreLimit, "forget", map[string]any{"id": m.id, "checkpoints": ids}, nil)
}
