package lima

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// Limits of Lima's own work. Images are downloaded by create and start.
const (
	createMax = 15 * time.Minute
	bootMax   = 10 * time.Minute
	stopMax   = 4 * time.Minute
	closeMax  = 5 * time.Minute
)

// create makes an instance that is off. If it fails none is left.
func (d *driver) create(ctx context.Context, id string, h host, spec vm.Spec) error {
	args, stdin, err := createArgs(id, h, spec)
	if err != nil {
		return err
	}
	_, err = d.do(ctx, cli.Call{Args: args, Stdin: stdin, Limit: createMax})
	switch {
	case err == nil:
		err = d.in(ctx, id, stateStopped)
	case errors.Is(err, fs.ErrExist): // it is somebody else's
		return err
	}
	if err == nil {
		return nil
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	return errors.Join(err, cli.Gone(d.destroy(clean, id)))
}

// createArgs are the arguments of create, and its input.
func createArgs(id string, h host, spec vm.Spec) ([]string, io.Reader, error) {
	args := []string{
		"create", "--tty=false", "--name=" + id, "--vm-type=" + h.vmType,
		"--cpus=" + strconv.Itoa(spec.CPUs), "--memory=" + gib(spec.Memory),
	}
	if disk := max(spec.Disk, spec.Image.Size); disk > 0 {
		args = append(args, "--disk="+gib(disk))
	}
	// Nothing of the host's is the guest's: no folder, no port, no proxy's password.
	set := ".propagateProxyEnv=false"
	if h.version.AtLeast(1, 1) {
		args = append(args, "--mount-none")
	} else {
		set = ".mounts=[] | " + set
	}
	args = append(args, "--containerd=none", "--plain", "--set="+set)
	if spec.Image.Disk == "" {
		return append(args, template(h, spec.Image.Name)), nil, nil
	}
	yaml, err := instanceOf(h, spec.Image)
	return append(args, "-"), bytes.NewReader(yaml), err
}

// gib writes bytes in Lima's unit.
func gib(n int64) string { return strconv.FormatFloat(float64(n)/(1<<30), 'f', -1, 64) }

// instanceOf describes an instance that boots a file, in JSON, which is YAML.
func instanceOf(h host, img vm.Image) ([]byte, error) {
	path, err := filepath.Abs(img.Disk)
	if err != nil {
		return nil, err
	}
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[img.Arch]
	if arch == "" {
		arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	}
	text := map[string]any{"arch": arch, "images": []any{map[string]string{"location": path, "arch": arch}}}
	if h.vmType == typeQEMU && arch == "x86_64" {
		text["firmware"] = map[string]bool{"legacyBIOS": img.Firmware != "uefi"}
	}
	return json.Marshal(text)
}

// templateName is what Lima's templates are called: debian-12, experimental/net-user.
var templateName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,60}(/[a-z0-9][a-z0-9._-]{0,60})?$`)

const templateScheme = "template:"

// template writes the name of a template as this Lima wants it.
func template(h host, image string) string {
	image = strings.TrimPrefix(image, templateScheme)
	if h.version.AtLeast(2, 0) {
		return templateScheme + image
	}
	return templateScheme + "//" + image
}

// Image implements vm.Catalog: the names of templates, as template:debian-12 or
// template://debian-12.
func (d *driver) Image(_ context.Context, image string) (vm.Image, error) {
	rest, found := strings.CutPrefix(image, templateScheme)
	rest = strings.TrimPrefix(rest, "//")
	if !found || !templateName.MatchString(rest) {
		return vm.Image{}, fmt.Errorf("lima: image %q: got no template:NAME: %w; \"limactl create --list-templates\" lists them", image, fs.ErrNotExist)
	}
	os, version, _ := strings.Cut(rest, "-")
	return vm.Image{Name: templateScheme + rest, OS: os, Version: version, Arch: runtime.GOARCH, Digest: name + ":" + rest}, nil
}

//go:embed qemu.sh
var qemuScript []byte

// environment is what an instance's QEMU is started with: our own QEMU, which
// starts the real one with other arguments. It applies to the next start, and
// makes no difference to Lima's other drivers.
func (d *driver) environment(h host, open bool) ([]string, error) {
	if h.vmType != typeQEMU {
		return nil, nil
	}
	path := filepath.Join(d.cfg.Home, "drivers", name, "qemu")
	if err := install(path, qemuScript); err != nil {
		return nil, err
	}
	restrict := "on"
	if open {
		restrict = "off"
	}
	return []string{emulators[runtime.GOARCH].variable + "=" + path, "ASSAY_LIMA_QEMU=" + h.qemu, "ASSAY_LIMA_RESTRICT=" + restrict}, nil
}

// install writes a program, unless it is there as it should be.
func install(path string, program []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, program) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "qemu-*")
	if err != nil {
		return err
	}
	_, err = f.Write(program)
	if err = errors.Join(err, f.Chmod(0o700), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
