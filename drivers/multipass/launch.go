package multipass

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// userData is what cloud-init is asked for beside Multipass's own wishes: that it
// leaves the packages as they are in the image.
const userData = "#cloud-config\npackage_update: false\npackage_upgrade: false\n"

// Limits of a launch, downloads included.
const (
	launchMax  = 15 * time.Minute
	abandonMax = 10 * time.Second // for the daemon to show what it goes on making
)

// create launches an instance and returns when Multipass is done with it. If it
// fails none is left.
func (d *driver) create(ctx context.Context, id string, h host, spec vm.Spec) error {
	image, unstage, err := d.stage(id, spec.Image)
	if err != nil {
		return err
	}
	_, err = d.do(ctx, cli.Call{
		Args: launchArgs(id, h, spec, image), Stdin: strings.NewReader(userData),
		Stdout: &phases{tell: spec.Progress}, Limit: launchMax + time.Minute,
	})
	err = errors.Join(err, unstage())
	if err == nil {
		err = d.came(ctx, id)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist): // it is somebody else's
		return err
	case errors.Is(err, errBoot):
		err = &vm.BootError{Err: err}
	}
	return errors.Join(err, d.abandon(ctx, id))
}

// came returns nil if a launch that said that it went well did.
func (d *driver) came(ctx context.Context, id string) error {
	if err := d.in(ctx, id, stateRunning); err != nil {
		return fmt.Errorf("multipass launch: got exit code 0, and no machine that runs: %w", err)
	}
	return nil
}

// launchArgs are the arguments of a launch.
func launchArgs(id string, h host, spec vm.Spec, image string) []string {
	memory := "--memory"
	if !h.version.AtLeast(1, 11) {
		memory = "--mem"
	}
	args := []string{"launch", "--name", id, "--cpus", strconv.Itoa(spec.CPUs), memory, strconv.FormatInt(spec.Memory, 10)}
	if disk := max(spec.Disk, spec.Image.Size); disk > 0 {
		args = append(args, "--disk", strconv.FormatInt(disk, 10))
	}
	return append(args, "--cloud-init", "-", "--timeout", strconv.Itoa(int(launchMax/time.Second)), image)
}

// abandon destroys what a launch that failed has left. If the launch was cut off
// the daemon goes on with it, and says that there is no such instance until there
// is; what takes longer than this waits for, Sweep finds.
func (d *driver) abandon(ctx context.Context, id string) error {
	cut := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	wait, stop := context.WithTimeout(ctx, abandonMax)
	defer stop()
	var last error
	err := cli.Until(wait, "the end of a launch", func(context.Context) (bool, error, error) {
		last = d.destroy(ctx, id)
		return last == nil || !cut || !errors.Is(last, fs.ErrNotExist), nil, nil
	})
	if err != nil || errors.Is(last, fs.ErrNotExist) {
		return nil
	}
	return last
}

// stage returns what to call an image on the command line, and what takes away
// what was made for that.
func (d *driver) stage(id string, img vm.Image) (image string, unstage func() error, err error) {
	nothing := func() error { return nil }
	if img.Disk == "" {
		return img.Name, nothing, nil
	}
	path, err := filepath.Abs(img.Disk)
	if err != nil {
		return "", nil, err
	}
	command, err := d.tool.Path()
	if err != nil {
		return "", nil, err
	}
	if dir := stageDir(); confined(command) && dir != "" {
		staged := filepath.Join(dir, id+filepath.Ext(path))
		if err := errors.Join(os.MkdirAll(dir, 0o700), share(path, staged)); err != nil {
			return "", nil, err
		}
		path, nothing = staged, func() error { return os.Remove(staged) }
	}
	return fileURL(path), nothing, nil
}

// fileURL writes an absolute path as Multipass wants it.
func fileURL(path string) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // C:/…
		path = "/" + path
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// confined reports that the command is a snap, whose daemon reads no file in a
// hidden folder of the user's, and none in /tmp.
func confined(command string) bool { return strings.HasPrefix(command, "/snap/") }

// stageDir is a folder that the snap may read; "" if there is no home.
func stageDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "snap", "multipass", "common", "assay")
}

// share makes a file known by another name: by a link, or a copy where the file
// system has none.
func share(from, to string) error {
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// unstageAll removes what an owner left in the stage.
func unstageAll(owner string) error {
	entries, err := os.ReadDir(stageDir())
	if err != nil {
		return nil // there is no stage
	}
	var problems []error
	for _, e := range entries {
		if cli.Owned(owner, e.Name()) {
			problems = append(problems, os.Remove(filepath.Join(stageDir(), e.Name())))
		}
	}
	return errors.Join(problems...)
}

// phases reads what the command prints beside its spinner, and tells what the
// launch is doing. It is only written to by one call.
type phases struct {
	tell func(phase string)
	rest []byte // what may be the beginning of a sentence
	done int    // sentences heard
}

// sentences are what a launch prints, in their order.
var sentences = []struct{ said, phase string }{
	{"Retrieving image", "downloading the image"},
	{"Preparing image", "preparing the image"},
	{"Starting ", "booting"},
	{"Waiting for initialization", "waiting for cloud-init"},
}

// Write implements io.Writer; it never fails.
func (p *phases) Write(b []byte) (int, error) {
	p.rest = append(p.rest, b...)
	for i := p.done; i < len(sentences); i++ {
		if bytes.Contains(p.rest, []byte(sentences[i].said)) {
			p.done = i + 1
			if p.tell != nil {
				p.tell(sentences[i].phase)
			}
		}
	}
	const longest = 64
	p.rest = append([]byte(nil), p.rest[max(0, len(p.rest)-longest):]...)
	return len(b), nil
}

// Image implements vm.Catalog: release numbers and code names of Ubuntu, and the
// few others that Multipass has, each also with the name of a remote before it.
func (d *driver) Image(_ context.Context, image string) (vm.Image, error) {
	_, alias, remote := strings.Cut(image, ":")
	if !remote {
		alias = image
	}
	os, version, known := release(alias)
	if !known || strings.ContainsAny(image, "/ \t\n") {
		return vm.Image{}, fmt.Errorf("multipass: image %q: %w; \"multipass find\" lists its own", image, fs.ErrNotExist)
	}
	return vm.Image{Name: image, OS: os, Version: version, Arch: goarch(), Digest: name + ":" + image}, nil
}
