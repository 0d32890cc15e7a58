package parallels

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"assay/drivers/internal/cli"
	"assay/seed"
	"assay/vm"
)

// created notes what Parallels calls a machine that was just made.
func (m *machine) created(ctx context.Context) error {
	l, err := m.d.find(ctx, m.name)
	if err != nil {
		return err
	}
	m.uuid = l.ID
	return m.d.place.Edit(m.name, func(n *cli.Note) { n.ID = l.ID })
}

// cloneTemplate makes a full copy, which leaves its source as it is: a linked
// one would make a snapshot there.
func (m *machine) cloneTemplate(ctx context.Context, template string) error {
	src, err := m.d.template(ctx, template)
	if err != nil {
		return fmt.Errorf("image %s: %w", m.spec.Image.Name, err)
	}
	if src.State != stopped {
		return fmt.Errorf("image %s: the virtual machine is %s, want it stopped; run \"prlctl stop %s\": %w", m.spec.Image.Name, src.State, src.ID, cli.ErrState)
	}
	if err := m.clone(ctx, src.ID); err != nil {
		return err
	}
	if err := m.outfit(ctx); err != nil {
		return err
	}
	return m.grow(ctx)
}

// clone copies a virtual machine into this one's folder.
func (m *machine) clone(ctx context.Context, src string, more ...string) error {
	return m.make(ctx, append([]string{"clone", src, "--name", m.name, "--dst", m.dir()}, more...)...)
}

// make runs the command that brings the machine into being, to its end: the
// service would go on with it if its command were killed, and leave a machine
// that nobody knows of.
func (m *machine) make(ctx context.Context, args ...string) error {
	if _, err := m.d.do(context.WithoutCancel(ctx), cli.Call{Args: args, Limit: m.d.boot}); err != nil {
		return err
	}
	return m.created(ctx)
}

// build makes a machine around a cloud image.
func (m *machine) build(ctx context.Context) error {
	disk := filepath.Join(m.dir(), "disk.hdd")
	if err := writeDisk(ctx, disk, m.spec); err != nil {
		return err
	}
	if err := m.writeSeed(); err != nil {
		return err
	}
	if err := m.make(ctx, "create", m.name, "-o", "linux", "--no-hdd", "--dst", m.dir()); err != nil {
		return err
	}
	if err := m.outfit(ctx); err != nil {
		return err
	}
	if m.spec.Image.Firmware == "uefi" {
		if err := m.set(ctx, "--efi-boot", "on"); err != nil {
			return err
		}
	}
	if err := m.set(ctx, "--device-add", "hdd", "--image", disk); err != nil {
		return err
	}
	return m.wire(ctx, "--device-add", "cdrom", "serial", "serial")
}

// wire gives the machine its seed disk, its console's file and the socket of its
// line: by --device-add and kinds of devices, or by --device-set and their names.
func (m *machine) wire(ctx context.Context, how, drive, console, line string) error {
	var err error
	if m.socket, err = m.d.place.Socket(m.name); err != nil {
		return err
	}
	return errors.Join(
		m.set(ctx, how, drive, "--image", m.seed(), "--enable", "--connect"),
		m.set(ctx, how, console, "--output", m.console()),
		m.set(ctx, how, line, "--socket", m.socket, "--socket-mode", "server"))
}

// The agent's line is the second serial port: the first is the console, on which
// cloud images print and let people log in.
const guestPort = "/dev/ttyS1"

// writeSeed makes the disk that brings the agent.
func (m *machine) writeSeed() error {
	agent, err := m.d.agents(runtime.GOARCH)
	if err != nil {
		return err
	}
	return seed.Write(m.seed(), seed.Options{Agent: agent, ID: m.name, Line: "serial:" + guestPort})
}

// set changes the configuration.
func (m *machine) set(ctx context.Context, args ...string) error {
	return m.d.run(ctx, append([]string{"set", m.uuid}, args...)...)
}

// apart keeps the guest from the user's files, clipboard, camera and programs,
// which Parallels shares with every guest unless told otherwise.
var apart = []string{
	"--shf-host", "off", "--shf-host-defined", "off", "--shared-profile", "off", "--shared-clipboard", "off",
	"--shared-cloud", "off", "--smart-mount", "off", "--sh-app-host-to-guest", "off", "--sh-app-guest-to-host", "off",
	"--auto-share-camera", "off", "--share-host-location", "off",
}

// outfit gives the machine its size, and takes what the guest must not have.
func (m *machine) outfit(ctx context.Context) error {
	for _, args := range [][]string{
		{"--cpus", fmt.Sprint(m.spec.CPUs), "--memsize", fmt.Sprint(cli.MiB(m.spec.Memory))},
		{"--startup-view", "headless", "--on-window-close", "keep-running"},
		apart,
	} {
		if err := m.set(ctx, args...); err != nil {
			return err
		}
	}
	return m.plug(ctx)
}

// plug makes the network cards what was asked for: disabled, or behind the
// host's address.
func (m *machine) plug(ctx context.Context) error {
	f, err := m.d.facts(ctx, m.uuid)
	if err != nil {
		return err
	}
	for _, card := range f.devices("net") {
		args := []string{"--device-set", card, "--disable"}
		if m.online() {
			args = []string{"--device-set", card, "--type", "shared", "--enable", "--connect"}
			m.cards = append(m.cards, card)
		}
		if err := m.set(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// online reports whether the machine has a network.
func (m *machine) online() bool { return m.spec.Network.Mode == vm.NetworkOpen }

// grow makes the first disk of a clone as large as was asked for.
func (m *machine) grow(ctx context.Context) error {
	if m.spec.Disk == 0 {
		return nil
	}
	f, err := m.d.facts(ctx, m.uuid)
	if err != nil || m.spec.Disk <= f.size("hdd0") {
		return err
	}
	return m.set(ctx, "--device-set", "hdd0", "--size", fmt.Sprint(cli.MiB(m.spec.Disk)))
}
