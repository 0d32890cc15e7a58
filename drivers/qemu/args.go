//go:build linux

package qemu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"assay/guest"
	"assay/vm"
)

// Hardware is everything that a guest sees. It stays the same for a machine's
// whole life: saved state only loads into the same devices.
type hardware struct {
	ID      string // of the machine; -name
	CPUs    int
	Memory  int64 // bytes, whole MiB
	Size    int64 // of the disk, bytes
	Network vm.NetworkMode
	Image   vm.Image
	Code    string // UEFI firmware, read-only; empty: BIOS or direct kernel boot
}

// Names of a machine's files in its folder.
const (
	varsName  = "vars.fd"    // the machine's own UEFI variables
	agentName = "agent.sock" // the agent's port
)

// A ram says where a guest's memory lives.
type ram struct {
	path   string // file; empty: memory of QEMU's own
	shared bool   // write to the file itself; only a template's first boot may
}

// args builds QEMU's command line. top is the writable layer's file name, and
// incoming says that state will be loaded rather than booted.
func (t tools) args(hw hardware, mem ram, top string, incoming bool) []string {
	a := []string{
		"-name", hw.ID,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35,memory-backend=ram,vmport=off",
		"-accel", t.acceleration(),
		"-cpu", t.cpu(),
		"-smp", strconv.Itoa(hw.CPUs),
		"-m", strconv.FormatInt(hw.Memory>>20, 10),
		"-object", mem.object(hw.Memory),
		"-device", "vmgenid,guid=auto",
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD),
		"-mon", "chardev=monitor,mode=control",
		"-chardev", "file,id=console,path=" + consoleName + ",append=on",
		"-serial", "chardev:console",
		"-drive", "file=" + top + ",format=qcow2,if=none,id=disk,cache=unsafe,discard=unmap",
		"-device", "virtio-blk-pci,drive=disk,bootindex=1",
		"-netdev", backend(hw.Network),
		"-device", "virtio-net-pci,id=nic,netdev=net,romfile=",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d,server=on,wait=off", agentFD),
		"-device", "virtserialport,chardev=agent,name=" + guest.Port,
		"-device", "virtio-rng-pci",
	}
	a = append(a, hw.firmware()...)
	if hw.Image.Seed != "" {
		a = append(a, "-drive", "file="+comma(hw.Image.Seed)+",format=raw,if=none,id=seed,readonly=on",
			"-device", "virtio-blk-pci,drive=seed")
	}
	if t.Sandbox {
		a = append(a, "-sandbox", sandbox)
	}
	if incoming {
		// The state holds devices and nothing else: see saveDevices.
		a = append(a, "-global", "migration.send-configuration=off", "-incoming", t.incoming())
	}
	return a
}

// incoming names the inherited state file. Newer versions want a plain file to
// be called one, older ones only know descriptors.
func (t tools) incoming() string {
	if t.major() >= 9 {
		return fmt.Sprintf("file:/dev/fd/%d", stateFD)
	}
	return fmt.Sprintf("fd:%d", stateFD)
}

// sandbox keeps a QEMU that a guest has broken out into from running programs
// or raising its rights.
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// acceleration is the argument of -accel. 16 MiB of translated code make a
// guest's shell twice as slow; more than 64 gain nothing.
func (t tools) acceleration() string {
	if t.Accel == accelTCG {
		return "tcg,thread=multi,tb-size=64"
	}
	return t.Accel
}

// cpu is the processor that the guest sees. Without KVM every feature is
// translated, so it gets only what x86-64-v2 userlands need, and rdrand.
func (t tools) cpu() string {
	if t.Accel == accelTCG {
		return "qemu64,-svm,+ssse3,+sse4.1,+sse4.2,+popcnt,+rdrand"
	}
	return "host"
}

// object is the argument that makes the guest's memory. The id is the same for
// every kind, because saved state names memory by it.
func (m ram) object(size int64) string {
	if m.path == "" {
		return fmt.Sprintf("memory-backend-ram,id=ram,size=%d", size)
	}
	share := "off"
	if m.shared {
		share = "on"
	}
	return fmt.Sprintf("memory-backend-file,id=ram,size=%d,mem-path=%s,share=%s", size, comma(m.path), share)
}

// networkShut is the open network of a template's boot: the guest gets its
// address and name server as clones will have them, and reaches nothing.
const networkShut vm.NetworkMode = "shut"

// backend is what the guest's network card is plugged into: a hub with nothing
// else on it, so that a connection fails at once and not after a time-out, or
// QEMU's user-mode network.
func backend(mode vm.NetworkMode) string {
	switch mode {
	case vm.NetworkOpen:
		return "user,id=net"
	case networkShut:
		return "user,id=net,restrict=on"
	}
	return "hubport,id=net,hubid=0"
}

// firmware is how the guest starts: a kernel of ours, UEFI, or QEMU's BIOS.
func (hw hardware) firmware() []string {
	if hw.Image.Kernel != "" {
		a := []string{"-kernel", hw.Image.Kernel, "-append", kernelLine(hw.Image.Append)}
		if hw.Image.Initrd != "" {
			a = append(a, "-initrd", hw.Image.Initrd)
		}
		return a
	}
	if hw.Code != "" {
		return []string{
			"-drive", "file=" + comma(hw.Code) + ",format=raw,if=pflash,unit=0,readonly=on",
			"-drive", "file=" + varsName + ",format=raw,if=pflash,unit=1",
		}
	}
	return nil
}

// kernelLine adds what a throw-away guest wants, unless the image says
// otherwise: no time spent on speculation, and the end at a panic. It takes
// "quiet" away: a boot that fails must say why, and that costs half a second.
func kernelLine(line string) string {
	line = strings.Join(slices.DeleteFunc(strings.Fields(line), func(w string) bool { return w == "quiet" }), " ")
	for _, want := range []string{"mitigations=off", "panic=-1"} {
		name, _, _ := strings.Cut(want, "=")
		if !strings.Contains(" "+line, " "+name+"=") {
			line += " " + want
		}
	}
	return strings.TrimSpace(line)
}

// comma doubles commas, which separate options on QEMU's command line.
func comma(path string) string { return strings.ReplaceAll(path, ",", ",,") }
