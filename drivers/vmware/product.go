package vmware

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"assay/drivers/internal/cli"
)

// What to type next.
const (
	fixModule  = `start VMware once by hand; on Linux build its kernel modules: "sudo vmware-modconfig --console --install-all"`
	fixVirtual = "turn VT-x or AMD-V on in the firmware's settings"
	fixSpace   = `free some space: "assay gc"`
	fixTools   = "install open-vm-tools in the guest"
	fixLog     = "read vmware.log in the machine's folder"
)

// A product is what vmrun works with.
type product struct {
	vmrun   *cli.Tool
	kind    string // ws, player, fusion
	title   string
	version string // of vmrun: "vmrun 1.17.0"
}

// kinds are the products, by vmrun's words for them, in the order in which they
// are looked for. Nothing else tells which one is installed.
func kinds() []product {
	if runtime.GOOS == "darwin" {
		return []product{{kind: "fusion", title: "VMware Fusion"}}
	}
	return []product{{kind: "ws", title: "VMware Workstation"}, {kind: "player", title: "VMware Player"}}
}

// complaints are what vmrun means. It complains on its standard output, and not
// always with an exit code.
var complaints = []cli.Pattern{
	{Text: "Unable to connect to host", Kind: cli.ErrDaemon, Fix: fixModule},
	{Text: "Cannot open VM", Kind: fs.ErrNotExist},
	{Text: "virtual machine cannot be found", Kind: fs.ErrNotExist},
	{Text: "snapshot does not exist", Kind: fs.ErrNotExist},
	{Text: "Invalid snapshot name", Kind: fs.ErrNotExist},
	{Text: "A file was not found", Kind: fs.ErrNotExist},
	{Text: "name already exists", Kind: fs.ErrExist},
	{Text: "file already exists", Kind: fs.ErrExist},
	{Text: "is not powered on", Kind: cli.ErrState},
	{Text: "needs to be powered on", Kind: cli.ErrState},
	{Text: "This VM is in use", Kind: cli.ErrState},
	{Text: "VMware Tools are not running", Kind: cli.ErrNoTools, Fix: fixTools},
	{Text: "Invalid user name or password", Kind: fs.ErrPermission},
	{Text: "Insufficient permissions", Kind: fs.ErrPermission},
	{Text: "disk is full", Kind: cli.ErrNoSpace, Fix: fixSpace},
	{Text: "not enough space", Kind: cli.ErrNoSpace, Fix: fixSpace},
	{Text: "No space left", Kind: cli.ErrNoSpace, Fix: fixSpace},
	{Text: "enough physical memory", Kind: cli.ErrNoMemory},
	{Text: "does not support VT-x", Kind: cli.ErrVirtual, Fix: fixVirtual},
	{Text: "does not support AMD-V", Kind: cli.ErrVirtual, Fix: fixVirtual},
	{Text: "operation is not supported", Kind: errors.ErrUnsupported},
	{Text: "The operation was canceled", Kind: cli.ErrFailed, Fix: fixLog},
	{Text: "Error:", Kind: cli.ErrFailed},
}

// tool returns vmrun for a kind of product; "": for none, to ask its version.
func tool(kind string) *cli.Tool {
	t := &cli.Tool{
		Driver: driverName, Name: "vmrun", Fix: "install VMware Workstation or Fusion from its vendor",
		Places: []string{
			"/Applications/VMware Fusion.app/Contents/Library/vmrun", "/Applications/VMware Fusion.app/Contents/Public/vmrun",
			`C:\Program Files (x86)\VMware\VMware Workstation\vmrun.exe`, `C:\Program Files (x86)\VMware\VMware VIX\vmrun.exe`,
		},
		Errors: slices.Clone(complaints),
	}
	for i := range t.Errors {
		t.Errors[i].Stdout, t.Errors[i].Always = true, true
	}
	if kind != "" {
		t.Args = []string{"-T", kind}
	}
	return t
}

var versionText = regexp.MustCompile(`vmrun version ([0-9.]+)`)

// product finds the product that answers; a failure is tried again. What it
// returns has a tool in any case.
func (d *driver) product(ctx context.Context) (*product, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil {
		return d.found, nil
	}
	bare := tool("")
	r, err := bare.Run(ctx) // it shows its usage, and its version in that
	m := versionText.FindSubmatch(append(r.Stdout, r.Stderr...))
	if m == nil {
		if err == nil {
			err = fmt.Errorf("vmrun: got %.200q, want its version", r.Text())
		}
		return &product{vmrun: bare}, err
	}
	for _, p := range kinds() {
		p.vmrun, p.version = tool(p.kind), "vmrun "+string(m[1])
		if _, err = p.running(ctx); err == nil {
			d.found = &p
			return &p, nil
		}
		if !errors.Is(err, cli.ErrDaemon) {
			break
		}
	}
	return &product{vmrun: bare}, err
}

// run runs vmrun.
func (p *product) run(ctx context.Context, args ...string) (cli.Result, error) {
	return p.vmrun.Run(ctx, args...)
}

// running lists the files of the machines that run.
func (p *product) running(ctx context.Context) ([]string, error) {
	r, err := p.run(ctx, "list")
	if err != nil {
		return nil, err
	}
	head, rest, _ := strings.Cut(strings.ReplaceAll(r.Text(), "\r\n", "\n"), "\n")
	if !strings.HasPrefix(head, "Total running VMs:") {
		return nil, fmt.Errorf("vmrun list: got %.200q, want the running machines", head)
	}
	return strings.FieldsFunc(rest, func(c rune) bool { return c == '\n' }), nil
}

// runs reports whether a machine runs; one that is paused does.
func (p *product) runs(ctx context.Context, vmx string) (bool, error) {
	all, err := p.running(ctx)
	return slices.ContainsFunc(all, func(other string) bool { return samePath(vmx, other) }), err
}

// samePath compares paths as their systems do: VMware resolves links, and cares
// for capitals less than we do.
func samePath(a, b string) bool {
	if real, err := filepath.EvalSymlinks(a); err == nil {
		a = real
	}
	if real, err := filepath.EvalSymlinks(b); err == nil {
		b = real
	}
	return a == b || runtime.GOOS != "linux" && strings.EqualFold(a, b)
}

// stopLimit is how long a machine may take until it is off.
const stopLimit = time.Minute

// stopped waits until a machine is off.
func (p *product) stopped(ctx context.Context, vmx string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stopLimit, fmt.Errorf("still on after %v", stopLimit))
	defer cancel()
	return cli.Until(ctx, "the end of "+filepath.Base(vmx), func(ctx context.Context) (bool, error, error) {
		on, err := p.runs(ctx, vmx)
		return err == nil && !on, nil, err
	})
}

// stop switches a machine off and waits until it is; one that is off stays so.
func (p *product) stop(ctx context.Context, vmx string) error {
	on, err := p.runs(ctx, vmx)
	if err != nil || !on {
		return err
	}
	_, err = p.run(ctx, "stop", vmx, "hard")
	if waited := p.stopped(ctx, vmx); waited != nil {
		return errors.Join(err, waited)
	}
	return nil // whatever it said, it is off
}
