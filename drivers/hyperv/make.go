package hyperv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"assay/drivers/internal/cli"
	"assay/seed"
	"assay/vm"
)

// Files in a machine's folder.
const (
	diskName   = "disk.vhdx"
	seedName   = "seed.iso"
	disksName  = "disks"  // of a fork
	exportName = "export" // of the checkpoint that a fork comes from
)

// serialPort is where the guest finds a line that is a serial port. The first one
// is the console, where cloud images print what their kernel says.
const serialPort = "/dev/ttyS1"

// base returns the image's disk as Hyper-V wants it, made once: a plain disk with
// a footer is a fixed VHD, which Hyper-V converts itself.
func (d *driver) base(ctx context.Context, img vm.Image, progress func(string)) (string, error) {
	key, err := cli.DiskKey(img, 0, "vhdx")
	if err != nil {
		return "", err
	}
	return d.place.Keep(key, func(path string) error {
		progress("converting the disk")
		fixed, converted := path+".vhd", path+".vhdx"
		defer os.Remove(fixed)
		if err := writeFixed(ctx, img, fixed); err != nil {
			return err
		}
		err := d.askFor(ctx, copyLimit, "convert", map[string]string{"from": fixed, "to": converted}, nil)
		if err != nil {
			os.Remove(converted)
			return err
		}
		return os.Rename(converted, path)
	})
}

// writeFixed writes a disk with the footer of a fixed VHD behind it.
func writeFixed(ctx context.Context, img vm.Image, path string) error {
	size := cli.MiB(img.Size) << 20 // Hyper-V wants whole ones
	if err := cli.Raw(ctx, img, path, size); err != nil {
		return fmt.Errorf("image %s: %w", img.Name, err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(footer(info.Size(), img.Digest))
	}
	return errors.Join(err, f.Close())
}

const footerSize = 512

// footer is the end of a fixed VHD of that size, in the words of Microsoft's
// Virtual Hard Disk Image Format 1.0. Its id follows from the image's digest.
func footer(size int64, digest string) []byte {
	b := make([]byte, footerSize)
	copy(b, "conectix")
	binary.BigEndian.PutUint32(b[8:], 2)           // a reserved bit that is always set
	binary.BigEndian.PutUint32(b[12:], 0x00010000) // the format's version
	binary.BigEndian.PutUint64(b[16:], ^uint64(0)) // no more headers
	copy(b[28:], "win ")                           // whoever is not Windows may be asked for its geometry
	binary.BigEndian.PutUint32(b[32:], 0x000a0000)
	copy(b[36:], "Wi2k")
	binary.BigEndian.PutUint64(b[40:], uint64(size))
	binary.BigEndian.PutUint64(b[48:], uint64(size))
	cylinders, heads, sectors := geometry(size / 512)
	binary.BigEndian.PutUint16(b[56:], uint16(cylinders))
	b[58], b[59] = byte(heads), byte(sectors)
	binary.BigEndian.PutUint32(b[60:], 2) // fixed
	copy(b[68:84], digest[max(0, len(digest)-16):])
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(b[64:], ^sum)
	return b
}

// geometry is the format's own rule for a disk's cylinders, heads and sectors.
func geometry(total int64) (cylinders, heads, sectors int64) {
	total = min(total, 65535*16*255)
	if total >= 65535*16*63 {
		return total / 255 / 16, 16, 255
	}
	sectors = 17
	rows := total / sectors
	heads = max((rows+1023)/1024, 4)
	if rows >= heads*1024 || heads > 16 {
		sectors, heads = 31, 16
		rows = total / sectors
	}
	if rows >= heads*1024 {
		sectors, heads = 63, 16
		rows = total / sectors
	}
	return rows / heads, heads, sectors
}

// order is what create.ps1 is told.
type order struct {
	Name       string `json:"name"`
	Folder     string `json:"folder"`
	CPUs       int    `json:"cpus"`
	Memory     int64  `json:"memory"`
	Generation int    `json:"generation"`
	Base       string `json:"base"`
	Disk       string `json:"disk"`
	Size       int64  `json:"size"` // 0: the base's
	Seed       string `json:"seed"`
	Network    bool   `json:"network"`
	Console    string `json:"console"`
	Line       string `json:"line"`
}

// make creates a machine that has not started. The script runs to its end: the
// service would go on with what it was told, for nobody.
func (m *machine) make(ctx context.Context, spec vm.Spec, base string) error {
	if err := m.writeSeed(); err != nil {
		return err
	}
	o := order{
		Name: m.name, Folder: m.d.place.Dir(m.name), CPUs: spec.CPUs, Memory: wholeMemory(spec.Memory), Generation: 1,
		Base: base, Disk: m.path(diskName), Seed: m.path(seedName), Network: spec.Network.Mode == vm.NetworkOpen,
		Console: m.pipe + consoleEnd, Line: m.pipe,
	}
	if spec.Image.Firmware == "uefi" || runtime.GOARCH == "arm64" {
		o.Generation = 2
	}
	if spec.Disk > spec.Image.Size {
		o.Size = cli.MiB(spec.Disk) << 20
	}
	var made struct{ ID, Switch string }
	if err := m.d.ask(context.WithoutCancel(ctx), "create", o, &made); err != nil {
		return err
	}
	m.network = made.Switch
	return m.born(made.ID)
}

// born notes what Hyper-V calls a machine that was just made.
func (m *machine) born(id string) error {
	if id == "" {
		return errors.New("powershell: the new machine has no id")
	}
	m.id = id
	return m.d.place.Edit(m.name, func(n *cli.Note) { n.ID = id })
}

// writeSeed makes the disk from which the guest takes the agent.
func (m *machine) writeSeed() error {
	agent, err := m.d.agents(runtime.GOARCH)
	if err != nil {
		return err
	}
	where := "serial:" + serialPort
	if m.socket {
		where = fmt.Sprintf("vsock:%d", guestPort)
	}
	return seed.Write(filepath.Clean(m.path(seedName)), seed.Options{Agent: agent, ID: m.name, Line: where})
}

// wholeMemory rounds up to 2 MiB, the unit of a machine's memory.
func wholeMemory(n int64) int64 { return (n + 2<<20 - 1) &^ (2<<20 - 1) }
