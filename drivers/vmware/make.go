package vmware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"assay/drivers/internal/cli"
	"assay/seed"
	"assay/vm"
)

// port is where the guest finds the line. The first serial port is the console,
// where cloud images print what their kernel says.
const port = "/dev/ttyS1"

// Names of a template's files, and of the snapshot that clones are made of.
const (
	templateName = "template.vmx"
	diskName     = "disk.vmdk"
	extentName   = "disk-flat.vmdk"
	seedName     = "seed.iso"
	baseSnapshot = "base"
)

// template returns the folder of a machine that never starts, made of the image
// once, from which machines are cloned.
func (d *driver) template(ctx context.Context, p *product, spec vm.Spec, progress func(string)) (string, error) {
	key, err := cli.DiskKey(spec.Image, spec.Disk, "template")
	if err != nil {
		return "", err
	}
	return d.place.Keep(key, func(dir string) error {
		progress("converting the disk")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := writeDisk(ctx, dir, spec); err != nil {
			return err
		}
		vmx := filepath.Join(dir, templateName)
		if err := blank(spec).write(vmx); err != nil || !p.clones() {
			return err
		}
		_, err := p.run(ctx, "snapshot", vmx, baseSnapshot)
		return err
	})
}

// clones reports whether the product has snapshots and clones.
func (p *product) clones() bool { return p.kind != "player" }

// writeDisk makes a disk of two files: the image's bytes, and a text about them.
func writeDisk(ctx context.Context, dir string, spec vm.Spec) error {
	extent := filepath.Join(dir, extentName)
	if err := cli.Raw(ctx, spec.Image, extent, (spec.Disk+511)&^511); err != nil {
		return err
	}
	info, err := os.Stat(extent)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, diskName), []byte(descriptor(info.Size())), 0o600)
}

// descriptor describes a disk whose bytes are in a file beside it, as they are.
func descriptor(size int64) string {
	const heads, track = 255, 63
	sectors := size / 512
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"

# Extent description
RW %d FLAT "%s" 0

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "%d"
ddb.geometry.sectors = "%d"
ddb.virtualHWVersion = "14"
`, sectors, extentName, max(1, sectors/heads/track), heads, track)
}

// blank describes a machine that has the disk, and nothing to talk with.
func blank(spec vm.Spec) config {
	firmware := "bios"
	if spec.Image.Firmware == "uefi" {
		firmware = "efi"
	}
	return config(nil).with(
		".encoding", "UTF-8", "config.version", "8", "virtualHW.version", "14", "guestOS", "ubuntu-64",
		"displayName", "assay template", "firmware", firmware,
		"pciBridge0.present", "TRUE", "pciBridge4.present", "TRUE", "pciBridge4.virtualDev", "pcieRootPort", "pciBridge4.functions", "8",
		"scsi0.present", "TRUE", "scsi0.virtualDev", "lsilogic",
		"scsi0:0.present", "TRUE", "scsi0:0.fileName", diskName,
		"numvcpus", "1", "memsize", "512", "floppy0.present", "FALSE", "sound.present", "FALSE", "usb.present", "FALSE",
	)
}

// make makes a machine that has not started.
func (m *machine) make(ctx context.Context, spec vm.Spec, template string) error {
	agent, err := m.d.agents("amd64")
	if err != nil {
		return err
	}
	err = seed.Write(m.path(seedName), seed.Options{Agent: agent, ID: m.name, Line: "serial:" + port, Password: m.password})
	if err != nil {
		return err
	}
	if m.p.clones() {
		_, err = m.p.run(ctx, "clone", filepath.Join(template, templateName), m.vmx, "linked", "-snapshot="+baseSnapshot, "-cloneName="+m.name)
	} else {
		err = copyFiles(template, m.home, diskName, extentName)
		if err == nil {
			err = blank(spec).write(m.vmx)
		}
	}
	if err != nil {
		return err
	}
	return edit(m.vmx, append(m.hardware(spec), m.ports()...)...)
}

// hardware says what spec asks for. A machine without a network has a card whose
// cable is out, and nobody in the guest can plug it in.
func (m *machine) hardware(spec vm.Spec) []string {
	connected := map[bool]string{true: "TRUE", false: "FALSE"}[m.open]
	return []string{
		"displayName", m.name, "numvcpus", strconv.Itoa(spec.CPUs), "memsize", strconv.FormatInt((cli.MiB(spec.Memory)+3)&^3, 10),
		"sata0.present", "TRUE", "sata0:1.present", "TRUE", "sata0:1.deviceType", "cdrom-image", "sata0:1.fileName", seedName,
		"ethernet0.present", "TRUE", "ethernet0.virtualDev", "e1000", "ethernet0.addressType", "generated",
		"ethernet0.connectionType", "nat", "ethernet0.startConnected", connected,
		"isolation.device.connectable.disable", "TRUE", "isolation.device.edit.disable", "TRUE",
		"uuid.action", "create", "msg.autoAnswer", "TRUE",
	}
}

// ports gives the machine its serial ports: the console goes to a file.
func (m *machine) ports() []string {
	return append(linePort(m.Socket), "serial0.present", "TRUE", "serial0.fileType", "file", "serial0.fileName", m.console().Path())
}

// linePort makes the second serial port a socket that VMware listens on, for the
// agent's line.
func linePort(socket string) []string {
	return []string{
		"serial1.present", "TRUE", "serial1.fileType", "pipe", "serial1.fileName", socket, "serial1.pipe.endPoint", "server",
		"serial1.tryNoRxLoss", "TRUE", "serial1.yieldOnMsrRead", "TRUE", "serial1.startConnected", "TRUE",
	}
}

// copyFiles copies files from one folder to another, by further names where that
// goes.
func copyFiles(from, to string, names ...string) error {
	for _, n := range names {
		data, err := os.Open(filepath.Join(from, n))
		if err != nil {
			return err
		}
		dst, err := os.OpenFile(filepath.Join(to, n), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = dst.ReadFrom(data)
			err = errors.Join(err, dst.Close())
		}
		if err = errors.Join(err, data.Close()); err != nil {
			return err
		}
	}
	return nil
}

// remove destroys a machine by its name, whatever it does.
func (d *driver) remove(ctx context.Context, name string) error {
	p, err := d.product(ctx)
	if errors.Is(err, cli.ErrNotInstalled) {
		p, err = nil, nil // then nothing of it runs
	}
	if err != nil {
		return err
	}
	if p != nil {
		if err := p.stop(ctx, d.vmx(name)); err != nil {
			return err
		}
	}
	return d.place.Remove(ctx, name, func(ctx context.Context, name string, _ cli.Note) error {
		return d.delete(ctx, p, d.vmx(name))
	})
}

// delete makes VMware delete a machine that is off. What it leaves, or will not
// delete because a window shows it, goes with the folder.
func (d *driver) delete(ctx context.Context, p *product, vmx string) error {
	if _, err := os.Stat(vmx); p == nil || errors.Is(err, fs.ErrNotExist) {
		return fs.ErrNotExist
	}
	_, err := p.run(ctx, "deleteVM", vmx)
	if on, look := p.runs(ctx, vmx); on || look != nil {
		return errors.Join(err, look)
	}
	return nil
}
