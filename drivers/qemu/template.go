//go:build linux

package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"assay/drivers/internal/cli"
	"assay/guest"
	"assay/vm"

	"golang.org/x/sys/unix"
)

// Files of a template, beside layer 0 of its disk, its console and its UEFI variables.
const (
	templateName = "template.json"
	ramName      = "ram"   // the guest's memory; only ever mapped privately again
	stateName    = "state" // everything else
)

// templateFormat changes when the files of a template come to mean something else.
const templateFormat = 2

// A template is a guest that was booted once and saved; machines start as
// private copies of it. It stays on disk while its lease is held.
type template struct {
	dir   string
	lease *os.File
}

// facts is what template.json says, for people and for Trim.
type facts struct {
	Image   string    `json:"image"`
	Digest  string    `json:"digest"`
	Disk    string    `json:"disk"` // path of the image's disk, on which the template's depends
	CPUs    int       `json:"cpus"`
	Memory  int64     `json:"memory"`
	Size    int64     `json:"size"`
	Version string    `json:"version"`
	Accel   string    `json:"accel"`
	Made    time.Time `json:"made"`
	Seconds float64   `json:"seconds"` // that making it took

	HostKeys []string         `json:"host_keys,omitempty"` // types of the guest's ssh server's keys
	Files    map[string]stamp `json:"files"`               // by name, but for this one
}

// templateKey names everything that went into a template.
func (t tools) templateKey(hw hardware) string {
	hw.ID = ""
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n%s\n%s\n%q\n", templateFormat, t.Version, hw.Image.Digest, t.args(hw, ram{}, "", false))
	fmt.Fprintf(sum, "%d\n", hw.Size)
	for _, path := range []string{hw.Image.Disk, hw.Image.Kernel, hw.Image.Initrd, hw.Image.Seed, hw.Code} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(sum, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		}
	}
	if t.Accel != accelTCG {
		cpu, _ := os.ReadFile("/proc/cpuinfo")
		sum.Write(virtualization.Find(cpu)) // "-cpu host" is the processor itself
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// clone starts a machine from the image's template, made if need be. A clone
// that does not wake is tried once more, since it is rarely the template's doing;
// then the template is made again once. No machine and no error means that
// templates do not work here and the image should be booted.
func (d *driver) clone(ctx context.Context, t tools, hw hardware, spec vm.Spec, progress func(string)) (*machine, error) {
	for try := range 3 {
		tpl, err := d.template(ctx, t, hw, progress)
		if err != nil {
			if _, hopeless := errors.AsType[*vm.BootError](err); hopeless || ctx.Err() != nil {
				return nil, err
			}
			progress("no template: " + err.Error())
			return nil, nil
		}
		progress("cloning")
		m, err := d.fromTemplate(ctx, t, hw, spec, tpl)
		if err == nil || ctx.Err() != nil {
			return m, err
		}
		progress("template does not load: " + err.Error())
		if err := (trouble{Time: time.Now().UTC(), Why: err.Error()}).note(tpl.dir); err != nil {
			return nil, err
		}
		if try == 1 && !dropTemplate(tpl.dir) {
			return nil, nil
		}
	}
	return nil, nil
}

// template returns the template for hw with a lease on it.
func (d *driver) template(ctx context.Context, t tools, hw hardware, progress func(string)) (template, error) {
	dir, err := filepath.Abs(filepath.Join(d.cfg.TemplateDir, t.templateKey(hw)))
	if err != nil {
		return template{}, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return template{}, err
	}
	for {
		lease, err := tryLock(dir+lockSuffix, lockShared)
		if errors.Is(err, unix.EWOULDBLOCK) {
			progress("waiting for a template that another launch builds")
			lease, err = lockFile(ctx, dir+lockSuffix, lockShared)
		}
		if err != nil {
			return template{}, err
		}
		if used(dir) {
			return template{dir, lease}, nil
		}
		lease.Close()
		if err := d.make(ctx, t, hw, dir, progress); err != nil {
			return template{}, fmt.Errorf("template: %w", err)
		}
	}
}

// used notes that the template of dir is being used now, and reports whether
// there is one.
func used(dir string) bool {
	now := time.Now()
	return os.Chtimes(filepath.Join(dir, templateName), now, now) == nil
}

// make makes the template of dir, unless another process does: then it returns
// at once and leaves the waiting to who takes a lease. Waiting here for the
// exclusive lock would be waiting for the quicker one's machine to end.
func (d *driver) make(ctx context.Context, t tools, hw hardware, dir string, progress func(string)) error {
	lock, err := tryLock(dir+lockSuffix, lockExclusive)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return pause(ctx, lockPause)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if used(dir) {
		return nil
	}
	progress("building template")
	draft := dir + draftSuffix
	if err := os.RemoveAll(draft); err != nil {
		return err
	}
	defer os.RemoveAll(draft) // if it still has that name
	if err := d.draft(ctx, t, hw, draft); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(draft, dir); err != nil {
		return err
	}
	_, err = Trim(filepath.Dir(dir), d.limit())
	return err
}

// limit is the size that templates may have together.
func (d *driver) limit() int64 {
	if d.cfg.TemplateLimit > 0 {
		return d.cfg.TemplateLimit
	}
	return 8 << 30
}

// draft boots a guest in dir, lets it settle and saves it there.
func (d *driver) draft(ctx context.Context, t tools, hw hardware, dir string) (err error) {
	began := time.Now()
	spec := vm.Spec{Name: "template-" + filepath.Base(dir)[:8], Dir: dir}
	hw.ID = machineID(spec)
	if hw.Network == vm.NetworkOpen {
		hw.Network = networkShut
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	m, err := d.newMachine(t, hw, spec)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	c, err := m.boot(ctx, ram{path: m.path(ramName), shared: true})
	if err != nil {
		return err
	}
	err = d.prepare(ctx, m, c)
	if err == nil {
		err = m.learn(ctx, c)
	}
	c.Close()
	if err != nil {
		return err
	}
	if err := m.freezeTemplate(ctx); err != nil {
		return err
	}
	return sealTemplate(dir, facts{
		Image: hw.Image.Name, Digest: hw.Image.Digest, Disk: hw.Image.Disk, CPUs: hw.CPUs, Memory: hw.Memory,
		Size: hw.Size, Version: t.Version, Accel: t.Accel, Made: began.UTC(), Seconds: time.Since(began).Seconds(),
		HostKeys: m.hostKeys,
	})
}

// prepare makes the guest ready to be copied: warm, then idle.
func (d *driver) prepare(ctx context.Context, m *machine, c *guest.Client) error {
	if d.cfg.Warm != nil {
		if err := d.cfg.Warm(ctx, c, m.hw.Image); err != nil {
			return fmt.Errorf("warm: %w", err)
		}
	}
	return cli.Settle(ctx, c, m)
}

// learn asks the agent what a clone of the guest will need of its own.
func (m *machine) learn(ctx context.Context, c *guest.Client) error {
	info, err := c.Info(ctx)
	m.hostKeys = info.HostKeys
	return err
}

// freezeTemplate saves the guest without its memory, which is in a file
// already, and ends QEMU in order, so that the disk's layer is complete.
func (m *machine) freezeTemplate(ctx context.Context) error {
	p, err := m.process()
	if err != nil {
		return err
	}
	if err := m.hangUp(ctx, p); err != nil {
		return p.explain(ctx, err)
	}
	if err := p.monitor.call(ctx, "stop", nil, nil); err != nil {
		return p.explain(ctx, err)
	}
	if err := p.saveDevices(ctx, m.path(stateName)); err != nil {
		return p.explain(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	return p.quit(ctx)
}

// sealTemplate leaves in dir only what clones need, read-only, and the facts.
func sealTemplate(dir string, f facts) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	f.Files = map[string]stamp{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch e.Name() {
		case ramName:
			// QEMU opens a private mapping's file for writing, so only root could
			// use it read-only.
			f.Files[e.Name()], err = stampFile(path)
		case stateName, varsName, consoleName, layerName(0):
			f.Files[e.Name()], err = stampFile(path)
			err = errors.Join(err, os.Chmod(path, 0o444))
		default:
			err = os.RemoveAll(path)
		}
		if err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, templateName), data)
}

// fromTemplate starts a private copy of a template. The lease becomes the
// machine's, and is given up if there is none.
func (d *driver) fromTemplate(ctx context.Context, t tools, hw hardware, spec vm.Spec, tpl template) (*machine, error) {
	m, err := d.newMachine(t, hw, spec)
	if err != nil {
		tpl.lease.Close()
		return nil, err
	}
	m.lease = tpl.lease
	f, err := readFacts(tpl.dir)
	if err == nil {
		err = f.intact(tpl.dir)
	}
	if err == nil {
		m.hostKeys = f.HostKeys
		err = m.wakeTemplate(ctx, tpl.dir)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// wakeTemplate puts a layer over the template's disk and runs on from its state.
func (m *machine) wakeTemplate(ctx context.Context, dir string) error {
	who := m.newcomer()
	if err := createOverlay(m.path(layerName(0)), filepath.Join(dir, layerName(0)), "qcow2", m.hw.Size); err != nil {
		return err
	}
	m.grew(0)
	if err := copyFile(filepath.Join(dir, consoleName), m.path(consoleName)); err != nil {
		return err
	}
	if m.hw.Code != "" {
		if err := replaceFile(filepath.Join(dir, varsName), m.path(varsName)); err != nil {
			return err
		}
	}
	p, err := m.resume(ctx, saved{
		mem:   ram{path: filepath.Join(dir, ramName)},
		state: filepath.Join(dir, stateName),
	})
	if err != nil {
		return err
	}
	return m.renew(ctx, p, who)
}

// shareLease takes another lease on the template that the machine came from.
func (m *machine) shareLease() (*os.File, error) {
	if m.lease == nil {
		return nil, nil
	}
	return lockFile(context.Background(), m.lease.Name(), lockShared)
}

// dropTemplate removes the template of dir and reports whether it is gone. One
// that other machines run from stays.
func dropTemplate(dir string) bool {
	lock, err := tryLock(dir+lockSuffix, lockExclusive)
	if err != nil {
		return false
	}
	defer lock.Close()
	if err := os.RemoveAll(dir); err != nil {
		return false
	}
	return trouble{Time: time.Now().UTC(), Rebuilt: true}.note(dir) == nil
}

// readFacts reads what a template was made from.
func readFacts(dir string) (facts, error) {
	var f facts
	data, err := os.ReadFile(filepath.Join(dir, templateName))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fmt.Errorf("template: %s: %w", dir, err)
	}
	return f, nil
}

// orphaned reports whether the image that a template was made from is gone.
func (f facts) orphaned() bool {
	_, err := os.Stat(f.Disk)
	return errors.Is(err, fs.ErrNotExist)
}
