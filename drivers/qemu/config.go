// Package qemu is the driver for QEMU run directly: no daemon, no root, KVM
// where it is proved to work and translation where it is not.
//
// It knows QEMU's command line, its monitor protocol and its disk format. It
// does not know what the agent in the guest does beyond answering, being
// renewed, and running the few commands that make a guest ready to be copied.
package qemu

import (
	"context"
	"time"

	"assay/guest"
	"assay/vm"
)

// qemuVariable says where the emulator is.
const qemuVariable = "ASSAY_QEMU"

// Config says where the driver keeps its files. The zero value of a field is
// its default.
type Config struct {
	TemplateDir   string        // saved booted guests; empty: every launch boots
	NoTemplates   bool          // every launch boots, though TemplateDir is set
	TemplateLimit int64         // bytes on disk that templates may take; 0: 8 GiB
	RunDir        string        // RunDir/OWNER/… is where Sweep looks for machines
	BootDeadline  time.Duration // until the agent answers; 0: 1 minute with KVM, 4 without

	// Warm, if set, is done once in the guest of every new template before it is
	// saved, so that clones find their caches filled.
	Warm func(ctx context.Context, c *guest.Client, image vm.Image) error
}

// A Template is a saved guest from which launches clone machines.
type Template struct {
	Image   string    `json:"image"`
	Digest  string    `json:"digest"` // of the image
	CPUs    int       `json:"cpus"`
	Memory  int64     `json:"memory"` // of the guest, bytes
	Bytes   int64     `json:"bytes"`  // that it occupies on disk
	Version string    `json:"version"`
	Accel   string    `json:"accel"`
	Made    time.Time `json:"made"`
	Used    time.Time `json:"used"`    // by the last launch
	Failed  int       `json:"failed"`  // clones that did not wake, ever
	Rebuilt int       `json:"rebuilt"` // times that it was thrown away for that and made again
}

// Name returns "qemu".
func (d *driver) Name() string { return "qemu" }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Builds: "yes",
		Title:  "QEMU", Tool: "qemu-system-x86_64",
		Variable: qemuVariable, Systems: []string{"linux"}, Met: []string{"QEMU 7.2.22"},
		Capabilities: []vm.Capability{vm.CapSnapshot, vm.CapMemory, vm.CapFork, vm.CapConsole, vm.CapNetwork, vm.CapSuspend, vm.CapUsage, vm.CapDisk},
		Instead:      map[vm.Capability]string{vm.CapScreenshot: "read the console: the machines have a serial one, and no display"},
		Isolation:    vm.IsolationHost,
	}
}
