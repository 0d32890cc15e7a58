package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"
)

// Files of a template beside its disk.
const (
	factsName      = "template.json"
	transcriptName = "console"
)

// templateFormat changes when the files of a template come to mean something else.
const templateFormat = 1

// facts are what a clone must know of the guest that it was.
type facts struct {
	Tag      string   `json:"tag"` // of the saved state in the disk
	MAC      string   `json:"mac"`
	HostKeys []string `json:"host_keys,omitempty"`
}

var _ vm.Templater = (*driver)(nil)

// Template names the template that a launch of spec clones. Whatever is wrong
// with spec, Launch says.
func (d *driver) Template(ctx context.Context, spec vm.Spec) (name string, ready bool) {
	s, err := d.site(ctx)
	if err != nil {
		return "", false
	}
	hw, err := s.hardware(spec)
	if err != nil || !d.clones(s, spec) {
		return "", false
	}
	name = s.templateKey(hw)
	_, err = os.Stat(filepath.Join(d.cfg.Home, "drivers", "libvirt", "kept", name, factsName))
	return name, err == nil
}

// clones reports whether a launch starts from a template. A template of an open
// network could have reached it, one at another host would have to be fetched
// from there, and what boots by UEFI keeps no memory.
func (d *driver) clones(s *site, spec vm.Spec) bool {
	return d.cfg.Home != "" && !s.remote && !spec.Cold && spec.Network.Mode != vm.NetworkOpen && !hardware{Image: spec.Image}.UEFI()
}

// templateKey names everything that goes into a template.
func (s *site) templateKey(hw hardware) string {
	sum := sha256.New()
	hw.MAC = ""
	text, err := domain{hardware: hw, Accel: domainType(s.accel), Label: s.label}.text()
	fmt.Fprintf(sum, "%d\n%s\n%s\n%s\n%v\n%d\n%s\n", templateFormat, s.version, s.uri, text, err, hw.Size, hw.Image.Digest)
	for _, file := range []string{hw.Image.Disk, hw.Image.Kernel, hw.Image.Initrd, hw.Image.Seed} {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintf(sum, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// clone starts a machine from the image's template, made if need be. No machine
// and no error means that the image should be booted.
func (d *driver) clone(ctx context.Context, s *site, hw hardware, spec vm.Spec, progress func(string)) (*machine, error) {
	dir, err := d.place.Keep(s.templateKey(hw), func(dir string) error {
		progress("building template")
		return makeTemplate(ctx, s, hw, spec, dir)
	})
	if boot := (*vm.BootError)(nil); errors.As(err, &boot) || ctx.Err() != nil {
		return nil, err
	}
	if err != nil {
		progress("no template: " + err.Error())
		return nil, nil
	}
	progress("cloning")
	m, err := fromTemplate(ctx, s, hw, spec, dir)
	if err == nil || ctx.Err() != nil {
		return m, err
	}
	progress("template does not load: " + err.Error())
	return nil, os.RemoveAll(dir) // the next launch makes another
}

// makeTemplate boots a guest of its own, lets it settle, saves it, and leaves
// its disk in dir. The guest is the launch's owner's, so that its Sweep finds it.
func makeTemplate(ctx context.Context, s *site, hw hardware, spec vm.Spec, dir string) (err error) {
	spec.Name = "template-" + newUUID()[:8]
	spec.Dir = spec.Dir + "." + spec.Name
	m, err := newMachine(ctx, s, hw, spec)
	defer func() { err = errors.Join(err, m.Close()) }()
	if err != nil {
		return err
	}
	if err := m.boot(ctx, func(c *guest.Client) error { return cli.Settle(ctx, c, m) }); err != nil {
		return err
	}
	saved, err := m.save(ctx, "template")
	if err != nil {
		return err
	}
	data, err := json.Marshal(facts{Tag: saved.tag, MAC: m.hw.MAC, HostKeys: m.hostKeys})
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, factsName), data, 0o600),
		os.WriteFile(filepath.Join(dir, transcriptName), saved.console, 0o600))
	if err != nil {
		return err
	}
	return m.standingStill(ctx, func() error { return s.copyDisk(ctx, m.dir, dir) })
}

// copyAll copies the disk of the folder $1 to the folder $2, for the user $3.
const copyAll = `set -e; cp --reflink=auto "$1/disk.qcow2" "$2/disk.qcow2"; chmod 600 "$2/disk.qcow2"
[ -z "$3" ] || chown "$3" "$2/disk.qcow2"`

// copyDisk copies a disk to which nobody writes.
func (s *site) copyDisk(ctx context.Context, from, to string) error {
	_, err := s.sh(ctx, nil, copyAll, from, to, s.owner())
	return err
}

// fromTemplate starts a copy of a template.
func fromTemplate(ctx context.Context, s *site, hw hardware, spec vm.Spec, dir string) (*machine, error) {
	var f facts
	data, err := os.ReadFile(filepath.Join(dir, factsName))
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return nil, err
	}
	console, err := os.ReadFile(filepath.Join(dir, transcriptName))
	if err != nil {
		return nil, err
	}
	hw.MAC = f.MAC
	m, err := newMachine(ctx, s, hw, spec)
	if err == nil {
		m.hostKeys = f.HostKeys
		_, err = m.takeImage(ctx)
	}
	if err == nil {
		err = s.copyDisk(ctx, dir, m.dir)
	}
	if err == nil {
		err = m.wake(ctx, saved{tag: f.Tag, console: console})
	}
	if err != nil {
		return nil, m.undo(err)
	}
	return m, nil
}

// linkImage gives the folder $2 the image's files of the folder $1, to which
// nobody writes.
const linkImage = `set -e; for f in base kernel initrd seed; do [ ! -e "$1/$f" ] || ln "$1/$f" "$2/$f"; done`

// inherit takes what a machine has that stands still.
func (m *machine) inherit(ctx context.Context, from *machine) error {
	if _, err := m.site.sh(ctx, nil, linkImage, from.dir, m.dir); err != nil {
		return err
	}
	img := &m.hw.Image
	for _, file := range []*string{&img.Kernel, &img.Initrd, &img.Seed} {
		if path.Dir(*file) == from.dir {
			*file = path.Join(m.dir, path.Base(*file))
		}
	}
	return m.site.copyDisk(ctx, from.dir, m.dir)
}
