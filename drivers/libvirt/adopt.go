package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

var (
	_ vm.Adopter = (*driver)(nil)
	_ vm.Limited = (*machine)(nil)
)

const (
	toolsMax = 5 * time.Minute // for a user's machine to boot, and its QEMU agent to answer
	leaveMax = 3 * time.Minute // for it to be what it was again
)

// qemuPort is the channel of QEMU's own agent.
const qemuPort = "org.qemu.guest_agent.0"

// An adoption is what is to be undone when a user's machine is given back.
type adoption struct {
	inside  inside
	wasOff  bool
	entered bool
	channel string // description of the channel that was plugged in
	lacks   map[vm.Capability]string
}

// Adopt uses a user's machine. The agent gets in through QEMU's own, and has its
// line on a channel that is plugged in while the guest runs.
func (d *driver) Adopt(ctx context.Context, name string, spec vm.Spec) (vm.Machine, error) {
	m, err := d.adopt(ctx, name, spec)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libvirt: %s: %w", name, err), os.RemoveAll(spec.Dir))
	}
	return m, nil
}

func (d *driver) adopt(ctx context.Context, name string, spec vm.Spec) (*machine, error) {
	s, err := d.site(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.virsh.Run(ctx, "dumpxml", name)
	if err != nil {
		return nil, err
	}
	k, err := parse(r.Stdout)
	if err != nil {
		return nil, err
	}
	if err := cli.Lent(name, k.Name, k.UUID, false); err != nil {
		return nil, err
	}
	if !k.hasChannel(qemuPort) {
		return nil, &vm.UnsupportedError{Machine: name, Want: "a way for the agent to get in", Instead: "give the machine the channel " + qemuPort + " (virt-install --channel unix,target.type=virtio,target.name=" + qemuPort + ") and install qemu-guest-agent in it"}
	}
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return nil, err
	}
	m := &machine{
		site: s, name: name, short: spec.Name, uuid: k.UUID, dir: dir, local: dir, hw: k.hardware(),
		console: &tape{}, turn: cli.NewTurn(), snapshots: map[string]saved{},
		adopted: &adoption{inside: inside{s, name}, lacks: k.lacks()},
	}
	if err := m.enter(ctx, d.cfg.Agents); err != nil {
		return nil, m.undo(err)
	}
	return m, nil
}

func (k known) hasChannel(name string) bool {
	for _, c := range k.Devices.Channels {
		if c.Target.Name == name {
			return true
		}
	}
	return false
}

// hardware is the part of a user's machine that the driver needs to know.
func (k known) hardware() hardware {
	hw := hardware{Network: vm.NetworkNone}
	if len(k.Devices.Interfaces) > 0 {
		hw.MAC = k.Devices.Interfaces[0].MAC.Address
	}
	return hw
}

// lacks says what a user's machine cannot do, and what the user can do about it.
func (k known) lacks() map[vm.Capability]string {
	lacks := map[vm.Capability]string{
		vm.CapFork:    "clone it with virt-clone, and adopt the clone",
		vm.CapConsole: "look at it with virsh console",
	}
	if len(k.Devices.Videos) == 0 {
		lacks[vm.CapScreenshot] = "give the machine a display (virt-xml --add-device --video vga)"
	}
	if len(k.Devices.Interfaces) != 1 {
		lacks[vm.CapNetwork] = "pull its cables with virsh domif-setlink"
	}
	writable := 0
	why := ""
	for _, disk := range k.Devices.Disks {
		if disk.ReadOnly != nil || disk.Device == "cdrom" {
			continue
		}
		writable++
		if disk.Driver.Type != "qcow2" {
			why = "convert its disks to qcow2: others keep no snapshots"
		}
	}
	if writable == 0 {
		why = "give it a disk: without one there is no place for snapshots"
	}
	if k.OS.Loader != "" {
		why = noFlash
	}
	if why != "" {
		lacks[vm.CapSnapshot], lacks[vm.CapMemory] = why, why
	}
	return lacks
}

// noFlash is why a machine with UEFI has no snapshots.
const noFlash = "let it boot by BIOS: libvirt keeps no snapshots of machines with UEFI"

// Lacks reports what a user's machine, or one with UEFI, cannot do.
func (m *machine) Lacks(c vm.Capability) (instead string, lacks bool) {
	switch {
	case m.adopted != nil:
		instead, lacks = m.adopted.lacks[c]
	case m.hw.UEFI() && slices.Contains([]vm.Capability{vm.CapSnapshot, vm.CapMemory, vm.CapFork}, c):
		return noFlash, true
	}
	return instead, lacks
}

// enter starts the machine if it was off, and opens the way for the line.
func (m *machine) enter(ctx context.Context, agents func(arch string) ([]byte, error)) error {
	a := m.adopted
	if err := os.MkdirAll(m.local, 0o700); err != nil {
		return err
	}
	if err := m.switchOn(ctx); err != nil {
		return err
	}
	if err := m.toolsAnswer(ctx); err != nil {
		return err
	}
	a.entered = true
	if err := cli.Enter(ctx, a.inside, agents); err != nil {
		return err
	}
	if err := m.plugIn(ctx); err != nil {
		return err
	}
	if err := a.inside.Start(ctx, cli.AgentPath); err != nil {
		return err
	}
	return m.firstWord(ctx)
}

// firstWord waits until the agent has answered once.
func (m *machine) firstWord(ctx context.Context) error {
	c, err := m.await(ctx, resumeMax)
	if err != nil {
		return err
	}
	c.Close()
	m.line.Cut()
	return nil
}

// switchOn starts a machine that is off.
func (m *machine) switchOn(ctx context.Context) error {
	r, err := m.site.virsh.Run(ctx, "domstate", m.name, "--reason")
	if err != nil {
		return err
	}
	switch state := r.Text(); {
	case strings.HasPrefix(state, "running"), strings.HasPrefix(state, "idle"):
		return nil
	case state == "shut off (saved)", !strings.HasPrefix(state, "shut off"):
		return fmt.Errorf("the machine is %s; bring it to run or shut it down first (virsh %s %s): %w", state, remedy(state), m.name, cli.ErrState)
	}
	m.adopted.wasOff = true
	return m.change(ctx, "start", m.name)
}

// remedy is the command of virsh's that lets a machine run which is neither off
// nor running.
func remedy(state string) string {
	switch word, _, _ := strings.Cut(state, " "); word {
	case "paused":
		return "resume"
	case "pmsuspended":
		return "dompmwakeup"
	}
	return "start"
}

// toolsAnswer waits for QEMU's agent in the guest.
func (m *machine) toolsAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, toolsMax, fmt.Errorf("no answer in %v; install qemu-guest-agent in the guest: %w", toolsMax, cli.ErrNoTools))
	defer cancel()
	return cli.Until(ctx, "waiting for QEMU's agent in the guest", func(ctx context.Context) (bool, error, error) {
		err := m.adopted.inside.ping(ctx)
		if err == nil || errors.Is(err, cli.ErrNoTools) && m.why(ctx) == nil {
			return err == nil, err, nil
		}
		return false, nil, err
	})
}

// channelXML is a channel for the agent's line, whose socket the user $3 may use.
const channelXML = `<channel type='unix'>
  <source mode='bind' path='%s'>%s</source>
  <target type='virtio' name='%s'/>
</channel>
`

// plugIn gives the running machine a channel.
func (m *machine) plugIn(ctx context.Context) error {
	dir, err := m.site.sh(ctx, nil, `dir=$(mktemp -d "${TMPDIR:-/tmp}/assay-XXXXXX") && chmod 711 "$dir" && echo "$1" >"$dir/assay-domain" && echo "$dir"`, m.name)
	if err != nil {
		return err
	}
	m.sockets, m.ends = dir, dir
	if m.site.remote {
		if m.ends, err = os.MkdirTemp("", socketPrefix); err != nil {
			return err
		}
	}
	label := ""
	if m.site.relabel {
		label = fmt.Sprintf("<seclabel model='dac' relabel='yes'><label>%s</label></seclabel>", m.site.label)
	}
	text := fmt.Sprintf(channelXML, dir+"/"+agentName, label, guest.Port)
	if err := m.giveFile(ctx, "channel.xml", text, "attach-device", m.name, "--live", "--file"); err != nil {
		return err
	}
	m.adopted.channel = text
	return m.pickUp(ctx)
}

// giveBack makes a user's machine what it was. It goes on after an error: what
// can be taken out is.
func (m *machine) giveBack(ctx context.Context) error {
	a := m.adopted
	var errs []error
	if m.why(ctx) == nil { // else nothing of it runs any more
		errs = append(errs, m.leave(ctx))
	}
	for _, s := range m.snapshots {
		_, err := m.site.virsh.Run(ctx, "snapshot-delete", m.name, s.tag)
		errs = append(errs, err)
	}
	if a.wasOff {
		errs = append(errs, m.switchOff(ctx))
	}
	if m.sockets != "" {
		errs = append(errs, m.site.clear(ctx, m.name, place{dir: m.sockets}))
	}
	return errors.Join(errs...)
}

// leave takes the agent and its channel out of the running machine.
func (m *machine) leave(ctx context.Context) error {
	a := m.adopted
	var errs []error
	if m.suspended {
		_, err := m.site.virsh.Run(ctx, "resume", m.name)
		errs = append(errs, err)
	}
	if a.entered {
		errs = append(errs, a.inside.stop(ctx), cli.Leave(ctx, a.inside))
	}
	if a.channel != "" {
		errs = append(errs, m.unplug(ctx))
	}
	return errors.Join(errs...)
}

// unplug takes the channel out, and waits until the guest has let it go.
func (m *machine) unplug(ctx context.Context) error {
	err := m.giveFile(ctx, "channel.xml", m.adopted.channel, "detach-device", m.name, "--live", "--file")
	if err != nil {
		return err
	}
	return cli.Until(ctx, "unplugging the agent's channel", func(ctx context.Context) (bool, error, error) {
		r, err := m.site.virsh.Run(ctx, "dumpxml", m.name)
		if err != nil {
			return false, nil, err
		}
		k, err := parse(r.Stdout)
		return !k.hasChannel(guest.Port), nil, err
	})
}

// switchOff shuts the guest down as its user would, and pulls the plug if it does
// not listen.
func (m *machine) switchOff(ctx context.Context) error {
	polite, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := m.site.virsh.Run(polite, "shutdown", m.name, "--mode", "agent")
	if err == nil {
		err = cli.Until(polite, "waiting for the guest to shut down", func(ctx context.Context) (bool, error, error) {
			r, err := m.site.virsh.Run(ctx, "domstate", m.name)
			return r.Text() == "shut off", nil, err
		})
	}
	if err == nil {
		return nil
	}
	if _, err = m.site.virsh.Run(ctx, "destroy", m.name); errors.Is(err, cli.ErrState) || missing(err) {
		return nil // it is off
	}
	return err
}
