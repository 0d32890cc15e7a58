package utm

import (
	"context"

	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strconv"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/seed"
	"assay/vm"
)

// build makes a machine around a cloud image.
func (m *machine) build(ctx context.Context) error {
	disk, err := m.disk(ctx)
	if err != nil {
		return err
	}
	if err := m.writeSeed(); err != nil {
		return err
	}
	if err := m.choosePorts(); err != nil {
		return err
	}
	img := m.spec.Image
	arch, err := processor(img.Arch)
	if err != nil {
		return err
	}
	native := img.Arch == "" || img.Arch == runtime.GOARCH
	uefi := img.Firmware == "uefi" || arch == "aarch64" // which knows nothing else
	args := append([]string{m.name, arch, strconv.FormatBool(native), strconv.FormatBool(uefi),
		fmt.Sprint(cli.MiB(m.spec.Memory)), fmt.Sprint(m.spec.CPUs), disk, m.seed(), m.network()}, m.arguments()...)
	return m.make(ctx, func(ctx context.Context) error {
		_, err := m.d.script(ctx, "make", args...)
		return err
	})
}

// make brings the machine into being, to the end: UTM would go on with it if its
// command were killed, and leave a machine that nobody knows of.
func (m *machine) make(ctx context.Context, how func(context.Context) error) error {
	if err := how(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	l, err := m.d.find(ctx, m.name)
	if err != nil {
		return err
	}
	m.id = l.ID
	return m.d.place.Edit(m.name, func(n *cli.Note) { n.ID = l.ID })
}

// disk returns the path of the disk that UTM shall copy: the image's, or one of
// the size that was asked for.
func (m *machine) disk(ctx context.Context) (string, error) {
	if m.spec.Disk <= m.spec.Image.Size {
		return filepath.Abs(m.spec.Image.Disk)
	}
	path := filepath.Join(m.dir(), "disk.img")
	if err := cli.Raw(ctx, m.spec.Image, path, m.spec.Disk); err != nil {
		return "", fmt.Errorf("image %s: %w", m.spec.Image.Name, err)
	}
	return path, nil
}

// writeSeed makes the disk that brings the agent.
func (m *machine) writeSeed() error {
	arch := m.spec.Image.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	agent, err := m.d.agents(arch)
	if err != nil {
		return err
	}
	return seed.Write(m.seed(), seed.Options{Agent: agent, ID: m.name})
}

// network returns what UTM calls the network that was asked for; "" is none.
func (m *machine) network() string {
	if m.spec.Network.Mode == vm.NetworkOpen {
		return "emulated"
	}
	return ""
}

// cloneTemplate copies a virtual machine of the user's, which has to be off.
func (m *machine) cloneTemplate(ctx context.Context, template string) error {
	src, err := m.d.find(ctx, template)
	if err != nil {
		return fmt.Errorf("image %s: %w", m.spec.Image.Name, err)
	}
	if src.State != stopped {
		return fmt.Errorf("image %s: the virtual machine is %s, want it stopped; run \"utmctl stop %s --request\": %w", m.spec.Image.Name, src.State, src.ID, cli.ErrState)
	}
	if m.spec.Disk > 0 {
		return &vm.UnsupportedError{Machine: name, Want: "another disk size for a clone", Instead: "leave disk out, or enlarge the disk of " + template + " in UTM"}
	}
	err = m.make(ctx, func(ctx context.Context) error {
		_, err := m.d.run(ctx, "clone", src.ID, "--name", m.name)
		return err
	})
	if err != nil {
		return err
	}
	m.tools = true
	_, err = m.d.script(ctx, "outfit", m.id, fmt.Sprint(cli.MiB(m.spec.Memory)), fmt.Sprint(m.spec.CPUs), m.network())
	if err != nil {
		return err
	}
	return m.addLine(ctx)
}

// addLine gives a machine that was not made here the line's port.
func (m *machine) addLine(ctx context.Context) error {
	if err := m.choosePorts(); err != nil {
		return err
	}
	_, err := m.d.script(ctx, "line", append([]string{m.id, "add"}, m.arguments()...)...)
	return err
}

// loopback is where QEMU listens.
const loopback = "127.0.0.1"

// choosePorts finds two TCP ports that nobody uses now.
func (m *machine) choosePorts() error {
	for _, port := range []*string{&m.port, &m.console.port} {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			return err
		}
		defer l.Close() // after both are chosen
		if _, *port, err = net.SplitHostPort(l.Addr().String()); err != nil {
			return err
		}
	}
	return nil
}

// arguments of QEMU for the agent's port and for the console, one word each.
func (m *machine) arguments() []string {
	socket := "socket,id=%s,host=" + loopback + ",port=%s,server=on,wait=off"
	return []string{
		"-device", "virtio-serial-pci,id=assay",
		"-chardev", fmt.Sprintf(socket, "assayline", m.port),
		"-device", "virtserialport,bus=assay.0,chardev=assayline,name=" + guest.Port,
		"-chardev", fmt.Sprintf(socket, "assayconsole", m.console.port),
		"-serial", "chardev:assayconsole",
	}
}
