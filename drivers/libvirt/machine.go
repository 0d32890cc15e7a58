package libvirt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

var (
	_ vm.Machine           = (*machine)(nil)
	_ vm.MemorySnapshotter = (*machine)(nil)
	_ vm.Forker            = (*machine)(nil)
	_ vm.Consoler          = (*machine)(nil)
	_ vm.Screenshotter     = (*machine)(nil)
	_ vm.Networker         = (*machine)(nil)
	_ vm.Suspender         = (*machine)(nil)
	_ vm.Usager            = (*machine)(nil)
)

// removeMax is how long a machine may take to go, a daemon's restart included.
const removeMax = time.Minute

// A machine is one domain of libvirt's.
type machine struct {
	site    *site
	hw      hardware
	name    string // of the domain, and of the machine for its owner
	short   string
	uuid    string
	dir     string    // its files, on the hypervisor's host
	sockets string    // its sockets, there
	ends    string    // where they can be dialled, here
	local   string    // spec's folder
	made    bool      // dir is there, and ours
	defined bool      // libvirt may know the domain
	adopted *adoption // of a user's machine; nil: it is ours
	tunnel  io.Closer
	console *tape
	turn    *cli.Turn
	line    cli.Line

	hostKeys []string // types of the keys of the guest's ssh server, which a fork needs anew

	// Below is only touched with the turn.
	suspended bool
	spent     time.Duration // CPU of the processes before this one
	snapshots map[string]saved
}

// newMachine takes the folder of spec and makes what the domain will need. It
// returns the machine even if that fails, for its undo.
func newMachine(ctx context.Context, s *site, hw hardware, spec vm.Spec) (*machine, error) {
	dir, err := filepath.Abs(spec.Dir)
	m := &machine{
		site: s, hw: hw, name: cli.Name(spec.Owner, spec.Name), short: spec.Name, uuid: newUUID(), dir: dir, local: dir,
		console: &tape{}, turn: cli.NewTurn(), snapshots: map[string]saved{},
	}
	if err != nil {
		return m, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return m, err
	}
	return m, m.settle(ctx)
}

// newUUID names a domain.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// newMAC is an address of those that QEMU's machines have.
func newMAC() string {
	var b [3]byte
	rand.Read(b[:])
	return net.HardwareAddr{0x52, 0x54, 0x00, b[0], b[1], b[2]}.String()
}

// domain describes the machine for libvirt.
func (m *machine) domain() domain {
	relabel := "no"
	if m.site.relabel {
		relabel = "yes"
	}
	return domain{
		hardware: m.hw, Name: m.name, UUID: m.uuid, Accel: domainType(m.site.accel),
		Dir: m.dir, Sockets: m.sockets, Label: m.site.label, Relabel: relabel,
	}
}

// define makes libvirt know the machine.
func (m *machine) define(ctx context.Context) error {
	text, err := m.domain().text()
	if err != nil {
		return err
	}
	return m.defineAs(ctx, text)
}

// defineAs makes libvirt know the machine as text describes it. One that is
// called so already is somebody else's.
func (m *machine) defineAs(ctx context.Context, text string) error {
	err := m.giveFile(ctx, "domain.xml", text, "define")
	m.defined = !errors.Is(err, fs.ErrExist)
	return err
}

// giveFile has virsh read a text, as the last argument of a call that changes
// something.
func (m *machine) giveFile(ctx context.Context, name, text string, args ...string) error {
	file := filepath.Join(m.local, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	return m.change(ctx, append(args, file)...)
}

// change runs a call that changes the domain. It is not broken off in the
// middle: libvirt would go on with it all the same, and nobody would know how
// far it is.
func (m *machine) change(ctx context.Context, args ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := m.site.virsh.Run(context.WithoutCancel(ctx), args...)
	if err == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// ID returns what libvirt calls the domain.
func (m *machine) ID() string { return m.name }

// undo takes back a launch that failed.
func (m *machine) undo(err error) error { return errors.Join(err, m.Close()) }

// Close destroys the domain and everything made for it. What is being done with
// the machine is ended.
func (m *machine) Close() error {
	first, give := m.turn.End()
	defer give()
	m.line.Close()
	if !first {
		return nil
	}
	err := m.end()
	m.letGo()
	if m.ends != m.sockets {
		err = errors.Join(err, os.RemoveAll(m.ends))
	}
	if err != nil {
		return fmt.Errorf("libvirt: %s: close: %w", m.name, err)
	}
	return os.RemoveAll(m.local)
}

// end destroys the domain, or gives it back to its user.
func (m *machine) end() error {
	limit, end := removeMax, func(ctx context.Context) error { return nil }
	switch {
	case m.adopted != nil:
		limit, end = leaveMax, m.giveBack
	case m.defined:
		end = func(ctx context.Context) error { return m.site.remove(ctx, m.name, place{m.dir, m.sockets}) }
	case m.made:
		end = func(ctx context.Context) error { return m.site.clear(ctx, m.name, place{m.dir, m.sockets}) }
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return end(ctx)
}

// remove makes libvirt forget a machine, and removes its files.
func (s *site) remove(ctx context.Context, name string, at place) error {
	if err := s.destroy(ctx, name); err != nil {
		return err
	}
	return s.clear(ctx, name, at)
}

// maxRefusals is how often libvirt may say no to a removal for a reason that
// nobody knows.
const maxRefusals = 5

// destroy makes libvirt forget a domain, and is sure of it. A daemon that is
// restarted meanwhile is waited for.
func (s *site) destroy(ctx context.Context, name string) error {
	refusals := 0
	return cli.Until(ctx, "waiting for the domain to go", func(ctx context.Context) (bool, error, error) {
		_, err := s.virsh.Run(ctx, "destroy", name)
		if err == nil || errors.Is(err, cli.ErrState) {
			// Not before: what is undefined while it runs keeps its snapshots.
			_, err = s.virsh.Run(ctx, "undefine", name, "--snapshots-metadata", "--managed-save", "--nvram")
		}
		if missing(err) {
			return true, nil, nil
		}
		if errors.Is(err, cli.ErrFailed) {
			refusals++
		}
		if refusals == maxRefusals {
			return false, nil, err
		}
		return false, err, nil // what is gone says so at the next try
	})
}

// boot starts the machine from its image and waits for the agent. ready, if it is
// not nil, is done on the line.
func (m *machine) boot(ctx context.Context, ready func(*guest.Client) error) error {
	if err := m.createDisk(ctx); err != nil {
		return err
	}
	if err := m.define(ctx); err != nil {
		return err
	}
	if err := m.change(ctx, "start", m.name, "--paused"); err != nil {
		return err
	}
	if err := m.pickUp(ctx); err != nil { // before the guest says its first word
		return err
	}
	if err := m.change(ctx, "resume", m.name); err != nil {
		return err
	}
	c, err := m.await(ctx, m.site.bootMax())
	if err != nil {
		return err
	}
	defer m.line.Cut()
	defer c.Close()
	if err := m.grow(ctx, c); err != nil {
		return err
	}
	info, err := c.Info(ctx)
	m.hostKeys = info.HostKeys
	if err == nil && ready != nil {
		err = ready(c)
	}
	return err
}

// grow gives the guest's root file system the room that its disk has beyond the
// image's. A guest without the programs keeps the image's size.
func (m *machine) grow(ctx context.Context, c *guest.Client) error {
	if m.hw.Size <= m.hw.Image.Size {
		return nil
	}
	return cli.Grow(ctx, c)
}
