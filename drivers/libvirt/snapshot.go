package libvirt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// A saved state lies in the machine's disk, memory included.
type saved struct {
	tag     string // libvirt's and QEMU's name for it
	console []byte // what the console had said
}

// Snapshot saves memory and disk while the guest stands still. It cuts the line.
func (m *machine) Snapshot(ctx context.Context, name string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.fail("snapshot", err)
	}
	defer give()
	if _, taken := m.snapshots[name]; taken {
		return m.fail("snapshot", fmt.Errorf("%q: %w", name, fs.ErrExist))
	}
	if _, err := m.save(ctx, name); err != nil {
		return m.fail("snapshot", err)
	}
	return nil
}

// save is Snapshot for those who have the turn.
func (m *machine) save(ctx context.Context, name string) (saved, error) {
	if err := m.why(ctx); err != nil {
		return saved{}, err // libvirt would save what is off
	}
	m.line.Cut()
	s := saved{tag: "assay-" + newUUID()[:8], console: m.console.bytes()}
	if err := m.change(ctx, "snapshot-create-as", m.name, s.tag, "--atomic"); err != nil {
		return s, err
	}
	m.snapshots[name] = s
	return s, nil
}

// Restore goes back to a snapshot. It cuts the line.
func (m *machine) Restore(ctx context.Context, name string) error {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return m.fail("restore", err)
	}
	defer give()
	s, ok := m.snapshots[name]
	if !ok {
		return m.fail("restore", fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist))
	}
	if u, err := m.usage(ctx); err == nil { // libvirt replaces the process
		m.spent = u.CPU
	}
	if err := m.revert(ctx, s, same()); err != nil {
		return m.fail("restore", err)
	}
	return nil
}

// revert lets the machine run on from a saved state, and renews the guest.
func (m *machine) revert(ctx context.Context, s saved, who identity) error {
	m.line.Cut()
	if err := m.change(ctx, "snapshot-revert", m.name, s.tag, "--running"); err != nil {
		return err
	}
	m.suspended = false
	if err := m.pickUp(ctx); err != nil {
		return err
	}
	c, err := m.await(ctx, resumeMax)
	if err != nil {
		return err
	}
	defer m.line.Cut()
	defer c.Close()
	id, err := who(ctx)
	if err != nil {
		return err
	}
	id.Time = time.Now()
	if err := c.Renew(ctx, id); err != nil {
		return fmt.Errorf("renew: %w", err)
	}
	return nil
}

// An identity gives what a resumed guest is told of the present.
type identity func(ctx context.Context) (guest.Identity, error)

// same is the identity of a machine that stays itself: it only gets the host's
// clock, and randomness that its former life has not used.
func same() identity {
	return func(context.Context) (guest.Identity, error) {
		secret := make([]byte, 64)
		rand.Read(secret)
		return guest.Identity{Entropy: secret}, nil
	}
}

// newcomer is the identity of a machine that is another's twin until it has
// names, an address, randomness and keys of its own.
func (m *machine) newcomer() identity {
	n := guest.NewIdentity(m.short, m.hostKeys)
	return func(ctx context.Context) (guest.Identity, error) {
		id, err := n.Identity(ctx)
		if err == nil && m.hw.Network == vm.NetworkOpen {
			id.Address = fmt.Sprintf("10.0.2.%d", 16+int(id.Entropy[0])%200) // none of QEMU's own
		}
		return id, err
	}
}

// Fork makes a machine of its own from a snapshot: a copy of the disk, in which
// the saved state is.
func (m *machine) Fork(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	f, err := m.fork(ctx, name, spec)
	if err != nil {
		return nil, fmt.Errorf("libvirt: %s: fork of %q: %w", spec.Name, name, err)
	}
	return f, nil
}

func (m *machine) fork(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	f, s, err := m.child(ctx, name, spec)
	if err != nil {
		return nil, err
	}
	if err := f.wake(ctx, s); err != nil {
		return nil, f.undo(err)
	}
	return f, nil
}

// child makes a machine that has not started, with a copy of this one's disk.
func (m *machine) child(ctx context.Context, name string, spec vm.Spec) (*machine, saved, error) {
	ctx, give, err := m.turn.Take(ctx)
	if err != nil {
		return nil, saved{}, err
	}
	defer give()
	s, ok := m.snapshots[name]
	if !ok {
		return nil, s, fmt.Errorf("snapshot %q: %w", name, fs.ErrNotExist)
	}
	spec.CPUs, spec.Memory, spec.Disk = m.hw.CPUs, m.hw.Memory<<20, 0
	if err := m.site.fits(ctx, spec); err != nil {
		return nil, s, err
	}
	f, err := newMachine(ctx, m.site, m.hw, spec)
	if err == nil {
		f.hostKeys = m.hostKeys
		err = m.standingStill(ctx, func() error { return f.inherit(ctx, m) })
	}
	if err != nil {
		return nil, s, f.undo(err)
	}
	return f, s, nil
}

// standingStill does something while the guest stands still and QEMU has
// written all that it knows to the disk's file.
func (m *machine) standingStill(ctx context.Context, do func() error) (err error) {
	if err := m.change(ctx, "suspend", m.name); err != nil {
		return err
	}
	if !m.suspended {
		defer func() {
			_, resumed := m.site.virsh.Run(context.WithoutCancel(ctx), "resume", m.name)
			err = errors.Join(err, resumed)
		}()
	}
	return do()
}

// wake runs on from a saved state that is in the machine's disk, of which
// libvirt has to be told.
func (m *machine) wake(ctx context.Context, s saved) error {
	who := m.newcomer() // keys take their time
	m.console.Write(s.console)
	text, err := m.domain().text()
	if err != nil {
		return err
	}
	if err := m.defineAs(ctx, text); err != nil {
		return err
	}
	if err := m.giveFile(ctx, "snapshot.xml", snapshotText(s.tag, text), "snapshot-create", m.name, "--redefine", "--xmlfile"); err != nil {
		return err
	}
	return m.revert(ctx, s, who)
}

// snapshotText describes a saved state of the domain that is described by text.
func snapshotText(tag, text string) string {
	return fmt.Sprintf(`<domainsnapshot>
  <name>%s</name>
  <state>running</state>
  <creationTime>%d</creationTime>
  <memory snapshot='internal'/>
  <disks><disk name='vda' snapshot='internal'/></disks>
%s</domainsnapshot>
`, tag, time.Now().Unix(), text)
}

// Sweep destroys the domains that the owner left behind, and the folders of
// those that libvirt never came to know.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	s, err := d.site(ctx)
	if err != nil {
		return 0, err
	}
	return cli.Sweep(ctx, owner, s.names, s.sweep)
}

// names lists the domains, and the machines that only have a folder.
func (s *site) names(ctx context.Context) ([]string, error) {
	r, err := s.virsh.Run(ctx, "list", "--all", "--name")
	if err != nil {
		return nil, err
	}
	folders, err := s.folders(ctx)
	names := append(lines(r.Text()), folders...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// sweep removes one machine of which nothing but its name is known.
func (s *site) sweep(ctx context.Context, name string) error {
	var at place
	if s.base != "" {
		at.dir = path.Join(s.base, name)
	}
	r, err := s.virsh.Run(ctx, "dumpxml", name)
	switch {
	case err == nil:
		k, err := parse(r.Stdout)
		if err != nil {
			return err
		}
		if own := k.Metadata.Machine; own.Dir != "" {
			at = place{own.Dir, own.Sockets}
		}
	case !missing(err):
		return err
	case s.base == "":
		return err
	}
	return s.remove(ctx, name, at)
}
