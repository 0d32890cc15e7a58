// Package vm is the contract between assay and hypervisors: drivers, machines,
// what some machines can do beyond the rest, and the kinds of error.
//
// It knows no hypervisor, and not what the bytes on a line mean: that is
// package guest's business, so that exec, transfer and capture behave alike on
// every driver.
package vm

import (
	"context"
	"io"
	"net"
	"time"
)

// Driver makes machines with one hypervisor. Its methods are safe for
// concurrent use.
type Driver interface {
	// Name returns the word that scripts use to choose the driver, such as "qemu".
	Name() string
	// Probe reports whether the driver can launch machines on this host, and what
	// those machines will be able to do. It starts nothing that outlives it.
	// An error says what is missing and how to get it.
	Probe(ctx context.Context) (Info, error)
	// Launch makes a machine and returns it when its agent can be dialled. If it
	// fails, or ctx ends, nothing is left behind. A guest that does not come up is
	// a *BootError; a request larger than the host is a *ResourceError, before
	// anything starts.
	Launch(ctx context.Context, spec Spec) (Machine, error)
	// Sweep destroys every machine that the owner left behind and returns how
	// many there were. The caller knows that the owner is dead.
	Sweep(ctx context.Context, owner string) (int, error)
}

// Machine is one running virtual machine. Its methods are safe for concurrent use.
type Machine interface {
	// ID returns the hypervisor's own name for the machine.
	ID() string
	// Dial opens the line to the agent in the guest. Any byte stream will do:
	// virtio-serial, vsock, TCP, or the pipes of an exec. A machine has one line
	// at a time: dialling again cuts the earlier one.
	Dial(ctx context.Context) (net.Conn, error)
	// Close destroys the machine and everything made for it, snapshots included.
	// It is idempotent and waits until nothing is left.
	Close() error
}

// Info is what Probe found.
type Info struct {
	Version      string       `json:"version"` // of the hypervisor: "QEMU 7.2.22"
	Accel        string       `json:"accel,omitempty"`
	Detail       string       `json:"detail,omitempty"` // why this accelerator, in one line
	Capabilities []Capability `json:"capabilities"`     // what machines claim; must equal Of(machine)

	// Lacks has, for what the card promises and machines lack here, what the user
	// can do instead; see Lacking.
	Lacks map[Capability]string `json:"lacks,omitempty"`
}

// A Card is what can be said of a driver on any host, also where its hypervisor
// is not installed. The documentation is made of it.
type Card struct {
	Title    string   `json:"title"`    // "VirtualBox"
	Tool     string   `json:"tool"`     // the command that the driver runs: "VBoxManage"
	Variable string   `json:"variable"` // of the environment, which says where that is: "ASSAY_VBOXMANAGE"
	Systems  []string `json:"systems"`  // the GOOS values of its hosts, most common first

	// Met lists the versions of the real hypervisor that the suite passed on, as
	// Info.Version has them. Empty: the driver is known by stand-ins and
	// transcripts only. Tests against the real one fail if theirs is missing.
	Met []string `json:"met,omitempty"`

	Capabilities []Capability          `json:"capabilities"`      // with the newest version known, in Of's order
	Instead      map[Capability]string `json:"instead,omitempty"` // for what is lacking: what the user can do
	Isolation    Isolation             `json:"isolation"`         // who enforces NetworkNone

	// Builds says which machines start from the images that assay builds, whose
	// disks have no boot loader: "yes", or such as "containers". Empty: none.
	Builds string `json:"builds,omitempty"`
}

// Isolation says who keeps a machine without a network from reaching one.
type Isolation string

// The values of Isolation.
const (
	IsolationHost  Isolation = "host"  // the hypervisor: the guest cannot undo it
	IsolationGuest Isolation = "guest" // a firewall in the guest, which root there can undo
	IsolationNone  Isolation = "none"  // nobody: NetworkNone is refused
)

// Carder is a driver that has a card. Every driver of a hypervisor is one.
type Carder interface{ Card() Card }

// Adopter is a driver that can use a machine that somebody else made.
type Adopter interface {
	// Adopt returns the user's machine that the hypervisor calls name, started if
	// it was off, as Launch would. spec gives name, owner, folder; the rest is the
	// machine's. Close takes out what was put in, goes back to the state that was
	// found (off, running) and never destroys it. An unknown name is
	// fs.ErrNotExist. What the guest wrote meanwhile stays, unless the caller
	// restores a snapshot before.
	Adopt(ctx context.Context, name string, spec Spec) (Machine, error)
}

// Catalog is a driver whose hypervisor fetches images by names of its own.
type Catalog interface {
	// Image returns the image that the hypervisor calls name, without looking for
	// it anywhere: only Name, OS, Version, Arch and Digest are set. A name that
	// cannot be one of its own is fs.ErrNotExist.
	Image(ctx context.Context, name string) (Image, error)
}

// Spec says what machine to make.
type Spec struct {
	Name    string  // unique among the owner's machines, [a-z0-9-], at most 40 bytes
	Owner   string  // the run it belongs to; Sweep takes it
	Dir     string  // private, existing, empty folder for the machine's files; Close removes it
	Image   Image   // what it boots
	CPUs    int     // at least 1
	Memory  int64   // bytes
	Disk    int64   // bytes; 0: as large as the image; never smaller than the image
	Network Network // zero: none
	Cold    bool    // boot, even if the driver could clone a booted template

	// Progress, if set, is told what the launch is doing: "building template", "booting".
	Progress func(phase string)
}

// Image is an immutable base disk and how to boot it. Package images makes them.
type Image struct {
	Name     string `json:"name"`             // debian-12
	OS       string `json:"os"`               // debian
	Version  string `json:"version"`          // 12
	Arch     string `json:"arch"`             // amd64
	Digest   string `json:"digest"`           // sha256:… of the disk
	Disk     string `json:"disk"`             // path of the disk file; never written to
	Format   string `json:"format"`           // qcow2 or raw, never guessed
	Size     int64  `json:"size"`             // virtual size, bytes
	Kernel   string `json:"kernel,omitempty"` // direct kernel boot; empty: the disk boots itself
	Initrd   string `json:"initrd,omitempty"`
	Append   string `json:"append,omitempty"`
	Firmware string `json:"firmware,omitempty"` // bios (default) or uefi, for disks that boot themselves
	Seed     string `json:"seed,omitempty"`     // path of a NoCloud seed disk that brings the agent, if the image lacks it
	Manifest string `json:"manifest,omitempty"` // path of the capture of the untouched image (capture.Manifest)
}

// A NetworkMode is what a machine's network lets through.
type NetworkMode string

// The modes. Allow and Open need the host's network; None does not.
const (
	NetworkNone  NetworkMode = "none" // a network card with nothing behind it
	NetworkAllow NetworkMode = "allow"
	NetworkOpen  NetworkMode = "open"
)

// Network is what a machine may reach.
type Network struct {
	Mode  NetworkMode
	Hosts []string // for NetworkAllow
}

// Capability names one optional interface of a Machine.
type Capability string

// The capabilities, one for each optional interface below.
const (
	CapSnapshot   Capability = "snapshot"
	CapMemory     Capability = "memory"
	CapFork       Capability = "fork"
	CapConsole    Capability = "console"
	CapScreenshot Capability = "screenshot"
	CapNetwork    Capability = "network"
	CapSuspend    Capability = "suspend"
	CapUsage      Capability = "usage"
	CapDisk       Capability = "disk"
)

// Snapshotter is a machine that can save its state and go back to it. Without
// MemorySnapshotter that is the disk, flushed, and Snapshot and Restore may
// restart the guest. Both cut the line, and return when it can be dialled again.
type Snapshotter interface {
	// Snapshot saves the state under a name that is new to this machine.
	Snapshot(ctx context.Context, name string) error
	// Restore goes back to a snapshot of this machine. An unknown name is
	// fs.ErrNotExist and leaves the machine as it was.
	Restore(ctx context.Context, name string) error
}

// MemorySnapshotter is a Snapshotter whose snapshots have the memory too:
// processes go on where they were.
type MemorySnapshotter interface {
	Snapshotter
	KeepsMemory()
}

// Forker is a machine from whose snapshots new machines can be made.
type Forker interface {
	// Fork makes a new running machine from a snapshot of this one. spec gives
	// name, owner, folder; the rest is the snapshot's. The new machine may
	// outlive this one. A fork is its parent's twin until the agent renews it.
	Fork(ctx context.Context, snapshot string, spec Spec) (Machine, error)
}

// ColdForker is a Forker whose forks boot, although its snapshots have the
// memory: its hypervisor clones disks only.
type ColdForker interface {
	Forker
	BootsForks()
}

// Consoler is a machine whose console is kept.
type Consoler interface {
	// Console returns everything that the guest's console printed so far, bounded
	// to its last MiB. The bytes are the guest's: escape them before printing.
	Console() ([]byte, error)
}

// Screenshotter is a machine with a display.
type Screenshotter interface {
	Screenshot(ctx context.Context) (png []byte, err error)
}

// Networker is a machine whose network cable can be pulled.
type Networker interface {
	SetLink(ctx context.Context, up bool) error
}

// Suspender is a machine that can stand still.
type Suspender interface {
	Suspend(ctx context.Context) error
	Resume(ctx context.Context) error
}

// Usager is a machine whose use of the host is known.
type Usager interface {
	Usage(ctx context.Context) (Usage, error)
}

// Disker is a machine whose disk the host can read while the guest runs on.
type Disker interface {
	// Mark freezes the disk as it is now and returns it: what the guest writes
	// from now on goes into a layer above those that are returned. The line stays.
	// What the guest has not written to its disk yet is not there; ask its agent
	// to flush first. The layers' files live until the machine is closed.
	Mark(ctx context.Context) ([]Layer, error)
}

// A Layer is one file of a disk's chain. A chain is listed oldest first; each
// layer holds what was written since the one before it.
type Layer struct {
	ID     string // names the content for ever: layers with one ID hold the same, whichever machine they are in
	Path   string // absolute
	Format string // qcow2 or raw, never guessed
}

// Usage is what a machine costs the host right now.
type Usage struct {
	CPU    time.Duration `json:"cpu_ns"` // since its start
	Memory int64         `json:"memory"` // proportional set size, bytes
	Disk   int64         `json:"disk"`   // bytes that its own layers occupy
	PID    int           `json:"pid"`    // of the hypervisor's process; 0 if there is none
}

var _ io.Closer = Machine(nil)
