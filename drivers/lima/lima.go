// Package lima is the driver for Lima: machines from its templates, such as
// template:debian-12, and from cloud images in files, with QEMU or Apple's
// virtualisation behind it.
//
// It knows the command limactl, what it can with which of the two, and the QEMU
// that it starts. It does not know what the agent in the guest says.
package lima

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

const name = "lima"

// askLimit is how long a question may take.
const askLimit = 30 * time.Second

type driver struct {
	cfg    cli.Config
	tool   *cli.Tool // for calls that are about machines
	inside *cli.Tool // for those that run a command in one
}

// New returns the driver.
func New(cfg cli.Config) vm.Driver {
	tool := cli.Tool{Driver: name, Name: "limactl", Places: places, Fix: installer()}
	inside := tool
	tool.Errors, inside.Errors = complaints, shellComplaints
	return &driver{cfg: cfg, tool: &tool, inside: &inside}
}

// places are where the command is if PATH lacks it.
var places = []string{"/usr/local/bin/limactl", "/opt/homebrew/bin/limactl", "/home/linuxbrew/.linuxbrew/bin/limactl"}

// installer is how Lima is installed: few Linux hosts have Homebrew, and no
// distribution packages it.
func installer() string {
	if _, err := exec.LookPath("brew"); err == nil || runtime.GOOS == "darwin" {
		return "brew install lima"
	}
	return "unpack a release of Lima into /usr/local, as https://lima-vm.io/docs/installation says"
}

// qemuInstaller has the command that installs QEMU for it.
var qemuInstaller = map[string]string{"darwin": "brew install qemu", "linux": "apt-get install qemu-system-x86 qemu-utils"}

// Name implements vm.Driver.
func (d *driver) Name() string { return name }

// Card implements vm.Carder. With QEMU the host itself cuts the network; what is
// said here is the least that a user of Lima gets.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "Lima", Tool: "limactl", Variable: cli.Variable("limactl"), Systems: []string{"darwin", "linux"},
		Capabilities: []vm.Capability{vm.CapSnapshot, vm.CapMemory, vm.CapFork, vm.CapConsole, vm.CapNetwork, vm.CapUsage},
		Instead:      instead,
		Isolation:    vm.IsolationGuest,
	}
}

var instead = map[vm.Capability]string{
	vm.CapScreenshot: "Lima's machines have no display; use the driver qemu",
	vm.CapSuspend:    "Lima cannot let a machine stand still; use the driver qemu",
	vm.CapDisk:       "captures are taken by the agent in the guest",
}

// The drivers of Lima's that this one knows.
const (
	typeQEMU = "qemu"
	typeVZ   = "vz"
)

// A host is what the Lima of this computer can do.
type host struct {
	version cli.Version
	written string // "2.2.0"
	vmType  string // what machines are made with
	qemu    string // path of the emulator; empty: none
	dir     string // where Lima keeps its machines
}

// host asks the command.
func (d *driver) host(ctx context.Context) (h host, err error) {
	r, err := d.do(ctx, cli.Call{Args: []string{"--version"}, Limit: askLimit})
	if err != nil {
		return h, d.tool.Unavailable(err)
	}
	if h.version, h.written, err = cli.FindVersion(r.Text()); err != nil {
		return h, unavailable(err.Error(), "")
	}
	if !h.version.AtLeast(1, 0) {
		return h, unavailable(fmt.Sprintf("version: got %s, want 1.0 or newer", h.written), "brew upgrade lima")
	}
	r, err = d.do(ctx, cli.Call{Args: []string{"info"}, Limit: askLimit})
	if err != nil {
		return h, d.tool.Unavailable(err)
	}
	var answer struct {
		Types []string `json:"vmTypes"`
		Home  string   `json:"limaHome"`
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return h, unavailable(fmt.Sprintf("info: got %.200q, want JSON: %v", r.Stdout, err), "")
	}
	h.dir, h.qemu = answer.Home, findQEMU()
	switch {
	case slices.Contains(answer.Types, typeQEMU) && h.qemu != "":
		h.vmType = typeQEMU // it alone keeps memory, and cuts the network
	case slices.Contains(answer.Types, typeVZ):
		h.vmType = typeVZ
	default:
		return h, unavailable("QEMU is not installed", qemuInstaller[runtime.GOOS])
	}
	return h, nil
}

func unavailable(reason, fix string) error {
	return &vm.UnavailableError{Driver: name, Reason: reason, Fix: fix}
}

// emulators are QEMU's programs by the host's architecture, and the variables by
// which Lima lets its users choose another.
var emulators = map[string]struct{ program, variable string }{
	"amd64": {"qemu-system-x86_64", "QEMU_SYSTEM_X86_64"},
	"arm64": {"qemu-system-aarch64", "QEMU_SYSTEM_AARCH64"},
}

// findQEMU returns the path of the emulator that Lima would start; "" if there is
// none.
func findQEMU() string {
	e := emulators[runtime.GOARCH]
	program := os.Getenv(e.variable)
	if program == "" {
		program = e.program
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

// lacks says what the user can do instead of what this Lima cannot do.
func (h host) lacks(c vm.Capability) (instead string, lacks bool) {
	const copies = "Lima's snapshots are copies of the disk here; install QEMU for snapshots with memory"
	switch {
	case h.vmType == typeQEMU && c == vm.CapFork:
		return "Lima copies stopped machines only; restore the snapshot instead, or use the driver qemu", true
	case h.vmType == typeQEMU:
		return "", false
	case c == vm.CapMemory:
		return copies, true
	case (c == vm.CapSnapshot || c == vm.CapFork) && !h.version.AtLeast(1, 2):
		return fmt.Sprintf("Lima %s cannot copy machines; upgrade to 1.2 or newer, or compare captures", h.written), true
	}
	return "", false
}

// Probe implements vm.Driver.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	h, err := d.host(ctx)
	if err != nil {
		return vm.Info{}, err
	}
	detail := "made with vz; no network: a firewall in the guest, which its root can undo"
	if h.vmType == typeQEMU {
		detail = "made with qemu, which cuts the network itself"
	}
	return vm.Info{Version: "Lima " + h.written, Detail: detail, Capabilities: vm.Of(&machine{host: h}), Lacks: vm.Lacking(&machine{host: h})}, nil
}

// Launch implements vm.Driver.
func (d *driver) Launch(ctx context.Context, spec vm.Spec) (vm.Machine, error) {
	m, err := d.launch(ctx, spec)
	if err != nil {
		return nil, cli.Failed(name, spec.Name, spec, err)
	}
	return m, nil
}

func (d *driver) launch(ctx context.Context, spec vm.Spec) (*machine, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, err
	}
	if err := cli.Admit(name, spec); err != nil {
		return nil, err
	}
	m := d.machine(h, cli.Name(spec.Owner, spec.Name), spec)
	progress := spec.Progress
	if progress == nil {
		progress = func(string) {}
	}
	progress("creating")
	if err := d.create(ctx, m.id, h, spec); err != nil {
		return nil, err
	}
	progress("booting")
	err = m.start(ctx)
	if err == nil {
		err = m.settle(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Sweep implements vm.Driver.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	all, err := d.list(ctx)
	if err != nil {
		return 0, d.tool.Unavailable(err)
	}
	list := func(context.Context) (names []string, err error) {
		for _, i := range all {
			names = append(names, i.Name)
		}
		return names, nil
	}
	_, copies := cli.Sweep(ctx, copyOwner(owner), list, d.destroy)
	n, err := cli.Sweep(ctx, owner, list, d.destroy)
	return n, errors.Join(copies, err, d.sweepSnapshots(ctx, owner, all))
}

// copyOwner owns the copies that snapshots are without QEMU, so that their names
// meet no machine's.
func copyOwner(owner string) string { return "copies of " + owner }
