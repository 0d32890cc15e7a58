package builtins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/vm"
)

type snapshotArgs struct {
	Machine *Machine `star:"machine" help:"machine to save"`
	Name    string   `star:"name?,pos" help:"name of the snapshot, new to the machine; default: snapshot-1, …"`
}

var snapshotName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// ownPrefix begins the names of snapshots that assay takes for itself. They are
// plain words, because hypervisors have rules of their own for names.
const ownPrefix = "assay-"

var snapshot = engine.Func("snapshot", "Snapshot",
	"Saves the whole state of a running machine, memory and disk. The machine runs on.\n"+
		"restore goes back to it; launch makes new machines from it. Where the machine cannot\n"+
		"save its memory (m.can(\"memory\")), the disk is saved, and the guest may restart.",
	snapshotArgs{},
	func(ctx context.Context, s *engine.Session, a snapshotArgs) (starlark.Value, error) {
		m := a.Machine
		m.snapshots++
		if a.Name == "" {
			a.Name = fmt.Sprintf("snapshot-%d", m.snapshots)
		}
		s.Describe(m.name+" as "+a.Name, m.vm.ID())
		if !snapshotName.MatchString(a.Name) {
			return nil, engine.Scriptf("snapshot: for parameter name: got %q, want at most 40 of a-z, 0-9 and -", a.Name)
		}
		if strings.HasPrefix(a.Name, ownPrefix) {
			return nil, engine.Scriptf("snapshot: for parameter name: got %q, want one that does not begin with %q", a.Name, ownPrefix)
		}
		saver, err := m.saver(s, "snapshot")
		if err != nil {
			return nil, err
		}
		m.hangUp()
		err = saver.Snapshot(ctx, a.Name)
		if errors.Is(err, fs.ErrExist) {
			return nil, engine.Scriptf("snapshot: for parameter name: %s has a snapshot %q already, want a new name", m.name, a.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("snapshot: %s: %w", m.name, err)
		}
		if !slices.Contains(vm.Of(m.vm), vm.CapMemory) {
			s.Log(fmt.Sprintf("snapshot: %s as %s: its disk is saved, its memory is not; what ran in it may have been restarted", m.name, a.Name))
		}
		return &Snapshot{m, a.Name}, nil
	}).Needing(engine.Need{Ability: string(vm.CapSnapshot)})

// saver returns the machine as one that can be saved.
func (m *Machine) saver(s *engine.Session, verb string) (vm.Snapshotter, error) {
	if err := m.need(s, verb, vm.CapSnapshot); err != nil {
		return nil, err
	}
	return vm.As[vm.Snapshotter](m.vm)
}

type restoreArgs struct {
	Machine  *Machine  `star:"machine" help:"machine to take back"`
	Snapshot *Snapshot `star:"snapshot" help:"a snapshot of this machine"`
}

var restore = engine.Func("restore", "None",
	"Takes a machine back to one of its snapshots. Its clock goes on, its randomness is fresh.",
	restoreArgs{},
	func(ctx context.Context, s *engine.Session, a restoreArgs) (starlark.Value, error) {
		m := a.Machine
		s.Describe(m.name+" to "+a.Snapshot.name, m.vm.ID())
		if a.Snapshot.machine != m {
			return nil, engine.Scriptf("restore: for parameter snapshot: got one of %s, want one of %s; launch(snapshot) makes a new machine", a.Snapshot.machine.name, m.name)
		}
		saver, err := m.saver(s, "restore")
		if err != nil {
			return nil, err
		}
		m.hangUp()
		if err := saver.Restore(ctx, a.Snapshot.name); err != nil {
			return nil, fmt.Errorf("restore: %s: %w", m.name, err)
		}
		if err := m.renew(ctx, false); err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
		return starlark.None, nil
	}).Needing(engine.Need{Ability: string(vm.CapSnapshot)})

// A Snapshot is a saved state of a machine, as scripts see it.
type Snapshot struct {
	machine *Machine
	name    string
}

var snapshotType = &engine.Type{
	Name: "Snapshot",
	Doc:  "The saved state of a machine.",
	Attrs: []engine.Attr{
		engine.Field("name", "str", "Its name.", func(s *Snapshot) starlark.Value { return starlark.String(s.name) }),
		engine.Field("machine", "Machine", "The machine that was saved.", func(s *Snapshot) starlark.Value { return s.machine }),
	},
}

// String returns MACHINE@NAME.
func (s *Snapshot) String() string { return s.machine.name + "@" + s.name }

// Type returns "Snapshot".
func (s *Snapshot) Type() string { return "Snapshot" }

// Freeze does nothing: a snapshot never changes.
func (s *Snapshot) Freeze() {}

// Truth returns True.
func (s *Snapshot) Truth() starlark.Bool { return true }

// Hash makes snapshots usable as keys.
func (s *Snapshot) Hash() (uint32, error) { return starlark.String(s.String()).Hash() }

// Attr implements starlark.HasAttrs.
func (s *Snapshot) Attr(name string) (starlark.Value, error) { return snapshotType.Attr(s, name) }

// AttrNames implements starlark.HasAttrs.
func (s *Snapshot) AttrNames() []string { return snapshotType.AttrNames() }
