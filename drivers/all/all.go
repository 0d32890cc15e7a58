// Package all lists the drivers that assay is built with.
package all

import (
	"context"
	"path/filepath"

	"assay/capture"
	"assay/drivers/fake"
	"assay/drivers/hyperv"
	"assay/drivers/incus"
	"assay/drivers/internal/cli"
	"assay/drivers/libvirt"
	"assay/drivers/lima"
	"assay/drivers/multipass"
	"assay/drivers/parallels"
	"assay/drivers/qemu"
	"assay/drivers/utm"
	"assay/drivers/virtualbox"
	"assay/drivers/vmware"
	"assay/guest"
	"assay/vm"
)

// Drivers returns the drivers, in the order in which they are preferred. home is
// assay's state folder, in which a driver keeps what it needs between runs;
// agents returns the program for guests of an architecture (GOARCH), which goes
// into machines whose image has none.
func Drivers(home string, agents func(arch string) ([]byte, error)) []vm.Driver {
	cfg := cli.Config{Home: home, Agents: agents}
	return []vm.Driver{
		qemu.New(qemu.Config{
			TemplateDir:   templates(home),
			RunDir:        filepath.Join(home, "run"),
			TemplateLimit: templateLimit,
			Warm:          observe,
		}),
		libvirt.New(cfg),
		incus.New(cfg),
		lima.New(cfg),
		hyperv.New(cfg),
		multipass.New(cfg),
		utm.New(cfg),
		parallels.New(cfg),
		virtualbox.New(cfg),
		vmware.New(cfg),
		fake.Config{Existing: []string{"mine"}}.New(),
		fake.Config{Called: "fake-bare", Without: fake.Bare()}.New(), // what scripts do on hypervisors that can little
	}
}

// observe takes a capture and forgets it: the agent has then done everything
// once, and the first capture of a clone takes as long as the second. Files that
// the host reads, the guest need not have seen.
func observe(ctx context.Context, c *guest.Client, image vm.Image) error {
	opt := capture.Options{Image: image.Digest}
	if image.Manifest != "" {
		known, err := capture.ReadManifest(image.Manifest)
		if err != nil {
			return err
		}
		opt.Known = known
	}
	if opt.Known.FromHost() {
		return capture.Rehearse(ctx, c)
	}
	_, err := capture.Take(ctx, c, opt)
	return err
}

// Trim frees what the drivers keep between runs and nobody uses, and returns
// the bytes freed. What is in use stays, and so does what makes the next launch
// fast, within the drivers' own limits.
func Trim(home string) (int64, error) {
	return qemu.Trim(templates(home), templateLimit)
}

// A Template is a saved guest from which launches clone machines.
type Template = qemu.Template

// Templates lists the saved guests of the drivers, most recently used first.
func Templates(home string) ([]Template, error) {
	return qemu.Templates(templates(home))
}

// templateLimit is how many bytes on disk saved guests may take.
const templateLimit = 8 << 30

func templates(home string) string { return filepath.Join(home, "templates") }
