package virtualbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"assay/drivers/internal/cli"
	"assay/seed"
	"assay/vm"
)

// port is where the guest finds the line. The first serial port is the console,
// where cloud images print what their kernel says.
const port = "/dev/ttyS1"

// base returns the image's disk as VirtualBox wants it, made once.
func (d *driver) base(ctx context.Context, spec vm.Spec, progress func(string)) (string, error) {
	key, err := cli.DiskKey(spec.Image, 0, "vdi")
	if err != nil {
		return "", err
	}
	return d.place.Keep(key, func(path string) error {
		progress("converting the disk")
		raw := path + ".raw"
		defer os.Remove(raw)
		if err := cli.Raw(ctx, spec.Image, raw, 0); err != nil {
			return err
		}
		_, err := d.manage.Do(ctx, cli.Call{Args: []string{"convertfromraw", raw, path, "--format", "VDI"}, Limit: convertLimit})
		return err
	})
}

var uuidLine = regexp.MustCompile(`(?m)^(?:.*\. )?UUID: ([0-9a-fA-F-]{36})\r?$`)

// uuid finds the id of what was made.
func uuid(r cli.Result) (string, error) {
	m := uuidLine.FindStringSubmatch(string(r.Stdout))
	if m == nil {
		return "", fmt.Errorf("VBoxManage: got %.200q, want a UUID", r.Text())
	}
	return m[1], nil
}

// make registers a machine that has not started.
func (m *machine) make(ctx context.Context, spec vm.Spec, v version, base string) error {
	d := m.d
	r, err := d.run(ctx, "createvm", "--name", m.name, "--ostype", "Linux_64", "--register", "--basefolder", filepath.Dir(m.home))
	if err != nil {
		return err
	}
	if m.id, err = uuid(r); err != nil {
		return err
	}
	if err := d.place.Edit(m.name, func(n *cli.Note) { n.ID = m.id }); err != nil {
		return err
	}
	if err := m.writeSeed(spec); err != nil {
		return err
	}
	if err := m.makeDisk(ctx, spec, base); err != nil {
		return err
	}
	steps := [][]string{
		append([]string{"modifyvm", m.id}, hardware(spec, v)...),
		append([]string{"modifyvm", m.id}, m.ports()...),
		{"storagectl", m.id, "--name", "SATA", "--add", "sata", "--portcount", "2", "--bootable", "on"},
		{"storageattach", m.id, "--storagectl", "SATA", "--port", "0", "--device", "0", "--type", "hdd", "--medium", m.path(diskName)},
		{"storageattach", m.id, "--storagectl", "SATA", "--port", "1", "--device", "0", "--type", "dvddrive", "--medium", m.path(seedName)},
	}
	for _, args := range steps {
		if _, err := d.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// hardware are modifyvm's arguments for what spec asks for.
func hardware(spec vm.Spec, v version) []string {
	firmware, nic, audio := "bios", "null", "--audio-driver"
	if spec.Image.Firmware == "uefi" {
		firmware = "efi"
	}
	if spec.Network.Mode == vm.NetworkOpen {
		nic = "nat"
	}
	if !v.AtLeast(7, 0) {
		audio = "--audio"
	}
	return []string{
		"--cpus", strconv.Itoa(spec.CPUs), "--memory", strconv.FormatInt(cli.MiB(spec.Memory), 10),
		"--acpi", "on", "--ioapic", "on", "--rtcuseutc", "on", "--firmware", firmware,
		"--boot1", "disk", "--boot2", "none", "--boot3", "none", "--boot4", "none",
		"--nic1", nic, "--cableconnected1", "on", audio, "none", "--graphicscontroller", "vmsvga", "--vram", "16",
		"--uart1", "0x3F8", "4", "--uart2", "0x2F8", "3",
	}
}

// ports are modifyvm's arguments for the serial ports: the console goes to a
// file, the agent's line to a socket that VirtualBox listens on. A machine with
// saved memory takes them too.
func (m *machine) ports() []string {
	return []string{"--uartmode1", "file", m.console().Path(), "--uartmode2", "server", m.Socket}
}

// writeSeed makes the disk from which the guest takes the agent.
func (m *machine) writeSeed(spec vm.Spec) error {
	agent, err := m.d.agents("amd64")
	if err != nil {
		return err
	}
	return seed.Write(m.path(seedName), seed.Options{Agent: agent, ID: m.name, Line: "serial:" + port})
}

// makeDisk makes the machine's disk: what differs from base, grown to the size
// that was asked for.
func (m *machine) makeDisk(ctx context.Context, spec vm.Spec, base string) error {
	m.d.media.Lock()
	defer m.d.media.Unlock()
	_, err := m.d.run(ctx, "createmedium", "disk", "--filename", m.path(diskName), "--format", "VDI", "--diffparent", base)
	if err != nil || spec.Disk <= spec.Image.Size {
		return err
	}
	_, err = m.d.run(ctx, "modifymedium", "disk", m.path(diskName), "--resizebyte", strconv.FormatInt(spec.Disk, 10))
	return err
}

// remove destroys a machine by its name, whatever it does.
func (d *driver) remove(ctx context.Context, name string) error {
	n, err := d.place.Note(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.powerOff(ctx, d.idOf(name, n)); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, cli.ErrNotInstalled) {
		return err
	}
	return d.place.Remove(ctx, name, d.unregister)
}

// idOf is what VirtualBox shall be told: the id, or the name if there is none.
func (d *driver) idOf(name string, n cli.Note) string {
	if n.ID != "" {
		return n.ID
	}
	return name
}

// unregister makes VirtualBox forget a machine. Its files go with its folder: to
// let unregistervm delete them would delete the image's disk too, if no other
// machine is on it at the moment. (Seen with 7.2.22.)
func (d *driver) unregister(ctx context.Context, name string, n cli.Note) error {
	d.media.Lock()
	defer d.media.Unlock()
	_, err := d.run(ctx, "unregistervm", d.idOf(name, n))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if errors.Is(err, cli.ErrNotInstalled) {
		return fs.ErrNotExist
	}
	// What else is known of it by path. It may never have come so far.
	d.forget(ctx, "dvd", filepath.Join(d.place.Dir(name), seedName))
	d.forget(ctx, "disk", filepath.Join(d.place.Dir(name), diskName))
	if n.Base != "" {
		d.forget(ctx, "disk", n.Base)
	}
	return err
}

// forget takes a disk out of VirtualBox's list, if nothing depends on it.
func (d *driver) forget(ctx context.Context, kind, path string) {
	_, _ = d.manage.Run(ctx, "closemedium", kind, path)
}

// powerOff switches a machine off and waits until it is; one that is off stays so.
func (d *driver) powerOff(ctx context.Context, id string) error {
	s, _, err := d.state(ctx, id)
	if err != nil || s == off || s == saved {
		return err
	}
	_, err = d.run(ctx, "controlvm", id, "poweroff")
	if waited := d.until(ctx, id, off, saved); waited != nil {
		return errors.Join(err, waited)
	}
	return nil // whatever it said, it is off
}

// startsAnyway is what startvm says when it worked, whatever its exit code.
func startsAnyway(r cli.Result) bool {
	return strings.Contains(string(r.Stdout), "has been successfully started")
}
