// Package multipass is the driver for Canonical Multipass: Ubuntu by its own
// names, such as 22.04, and cloud images from files.
//
// It knows the command multipass, by version: what it can do, what it answers,
// and that its daemon goes on when the command has ended. It does not know what
// the agent in the guest says.
package multipass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

const name = "multipass"

// askLimit is how long a question may take that the daemon answers from memory.
const askLimit = 30 * time.Second

type driver struct {
	cfg    cli.Config
	tool   *cli.Tool // for calls that are about machines
	inside *cli.Tool // for those that run a command in one
}

// New returns the driver.
func New(cfg cli.Config) vm.Driver {
	tool := cli.Tool{Driver: name, Name: "multipass", Places: places, Fix: installer[runtime.GOOS]}
	inside := tool
	tool.Errors, inside.Errors = complaints, execComplaints
	return &driver{cfg: cfg, tool: &tool, inside: &inside}
}

// places are where the command is if PATH lacks it.
var places = []string{
	"/snap/bin/multipass", "/usr/local/bin/multipass", "/opt/homebrew/bin/multipass",
	`C:\Program Files\Multipass\bin\multipass.exe`,
}

// installer has the command that installs Multipass.
var installer = map[string]string{
	"linux": "snap install multipass", "darwin": "brew install --cask multipass", "windows": "winget install Canonical.Multipass",
}

// starter has the command that starts its daemon.
var starter = map[string]string{
	"linux":   "snap start multipass",
	"darwin":  "sudo launchctl kickstart -k system/com.canonical.multipassd",
	"windows": "Start-Service Multipass",
}

// Name implements vm.Driver.
func (d *driver) Name() string { return name }

// Card implements vm.Carder.
func (d *driver) Card() vm.Card {
	return vm.Card{
		Title: "Multipass", Tool: "multipass", Variable: cli.Variable("multipass"), Systems: []string{"linux", "darwin", "windows"},
		Capabilities: []vm.Capability{vm.CapSnapshot, vm.CapFork, vm.CapNetwork, vm.CapSuspend, vm.CapUsage},
		Instead:      instead,
		Isolation:    vm.IsolationGuest,
	}
}

var instead = map[vm.Capability]string{
	vm.CapMemory:     "snapshots keep the disk, and the guest restarts; use the driver qemu for snapshots with memory",
	vm.CapConsole:    "Multipass keeps no console; read the guest's own journal",
	vm.CapScreenshot: "Multipass's machines have no display; use the driver qemu",
	vm.CapDisk:       "captures are taken by the agent in the guest",
}

// A host is what the Multipass of this computer can do.
type host struct {
	version cli.Version
	written string // "1.16.3"
	backend string // "qemu"; empty if it does not say
}

// host asks the command and its daemon.
func (d *driver) host(ctx context.Context) (host, error) {
	r, err := d.tool.Do(ctx, cli.Call{Args: []string{"version", "--format", "json"}, Limit: askLimit})
	if err != nil {
		return host{}, d.tool.Unavailable(err)
	}
	var answer struct {
		Client string `json:"multipass"`
		Daemon string `json:"multipassd"`
	}
	if err := json.Unmarshal(r.Stdout, &answer); err != nil {
		return host{}, d.unavailable(fmt.Sprintf("version: got %.200q, want JSON: %v", r.Stdout, err))
	}
	if answer.Daemon == "" { // it does not fail without its daemon
		return host{}, d.unavailable("its daemon multipassd does not answer")
	}
	var h host
	if h.version, h.written, err = cli.FindVersion(answer.Daemon); err != nil {
		return host{}, d.unavailable(err.Error())
	}
	if r, err := d.tool.Do(ctx, cli.Call{Args: []string{"get", "local.driver"}, Limit: askLimit}); err == nil {
		h.backend = r.Text()
	}
	return h, nil
}

func (d *driver) unavailable(reason string) error {
	return &vm.UnavailableError{Driver: name, Reason: reason, Fix: starter[runtime.GOOS]}
}

// lesser reports that the backend lacks what Multipass's others have.
func (h host) lesser() bool { return h.backend == "lxd" || h.backend == "applevz" }

// lacks says what the user can do instead of what this Multipass cannot do.
func (h host) lacks(c vm.Capability) (instead string, lacks bool) {
	since := map[vm.Capability]int{vm.CapSnapshot: 13, vm.CapFork: 15, vm.CapSuspend: 0}
	minor, limited := since[c]
	switch {
	case !limited:
		return "", false
	case !h.version.AtLeast(1, minor):
		return fmt.Sprintf("Multipass %s cannot; upgrade to 1.%d or newer, or compare captures, which works with every version", h.written, minor), true
	case h.lesser():
		return fmt.Sprintf("Multipass's backend %s cannot; choose another (multipass set local.driver=qemu), or compare captures", h.backend), true
	}
	return "", false
}

// Probe implements vm.Driver.
func (d *driver) Probe(ctx context.Context) (vm.Info, error) {
	h, err := d.host(ctx)
	if err != nil {
		return vm.Info{}, err
	}
	detail := "no network: a firewall in the guest, which its root can undo"
	if h.backend != "" {
		detail = "backend " + h.backend + "; " + detail
	}
	return vm.Info{Version: "Multipass " + h.written, Detail: detail, Capabilities: vm.Of(&machine{host: h}), Lacks: vm.Lacking(&machine{host: h})}, nil
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
	if err := d.create(ctx, m.id, h, spec); err != nil {
		return nil, err
	}
	if err := m.settle(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Sweep implements vm.Driver.
func (d *driver) Sweep(ctx context.Context, owner string) (int, error) {
	names, err := d.machines(ctx)
	if err != nil {
		return 0, d.tool.Unavailable(err)
	}
	list := func(context.Context) ([]string, error) { return names, nil }
	_, copies := cli.Sweep(ctx, copyOwner(owner), list, d.destroy)
	n, err := cli.Sweep(ctx, owner, list, d.destroy)
	return n, errors.Join(copies, err, d.sweepSnapshots(ctx, owner, names), unstageAll(owner))
}
