package incus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// catalogName is a name of Incus' own: REMOTE:ALIAS, such as images:debian/12,
// or local:ALIAS for what the server already has.
var catalogName = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{0,62}):([A-Za-z0-9][A-Za-z0-9./_-]{0,199})$`)

// Image implements vm.Catalog.
func (d *driver) Image(_ context.Context, name string) (vm.Image, error) {
	m := catalogName.FindStringSubmatch(name)
	if m == nil {
		return vm.Image{}, fmt.Errorf("incus: image %q: got no name such as images:debian/12 or local:ALIAS: %w", name, fs.ErrNotExist)
	}
	img := vm.Image{Name: name}
	switch parts := strings.Split(m[2], "/"); {
	case m[1] == "ubuntu":
		img.OS, img.Version = "ubuntu", parts[0]
	case m[1] == "images" && len(parts) > 1:
		img.OS, img.Version = parts[0], parts[1]
	}
	return img, nil
}

// source returns where a new instance's files come from, as the API wants it.
func (d *driver) source(ctx context.Context, s *server, spec vm.Spec) (map[string]any, error) {
	img := spec.Image
	if img.Disk == "" {
		m := catalogName.FindStringSubmatch(img.Name)
		if m == nil {
			return nil, fmt.Errorf("image %q: got neither a disk nor a name such as images:debian/12: %w", img.Name, fs.ErrNotExist)
		}
		return s.remote(ctx, m[1], m[2])
	}
	if !s.container() {
		return nil, &vm.UnsupportedError{Machine: driverName, Want: "image " + img.Name + " in a virtual machine",
			Instead: "take a name of Incus' own that has its agent, such as images:debian/12, or have containers launched with " + typeEnv + "=container"}
	}
	fingerprint, err := d.imported(ctx, s, spec)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Name, err)
	}
	return map[string]any{"type": "image", "fingerprint": fingerprint}, nil
}

// remote is the source of an image that a remote of the user's has.
func (s *server) remote(ctx context.Context, name, alias string) (map[string]any, error) {
	if name == "local" {
		return map[string]any{"type": "image", "alias": alias}, nil
	}
	r, err := s.tool.Run(ctx, "remote", "list", "-f", "json")
	if err != nil {
		return nil, err
	}
	var all map[string]struct {
		Addr, Protocol string
		Public         bool
	}
	if err := decode("remote list", r.Stdout, &all); err != nil {
		return nil, err
	}
	remote, ok := all[name]
	if !ok {
		return nil, fmt.Errorf("remote %q: %s remote list does not have it: %w", name, s.tool.Name, fs.ErrNotExist)
	}
	if !remote.Public {
		return nil, &vm.UnsupportedError{Machine: driverName, Want: "image " + name + ":" + alias + " of a private remote",
			Instead: fmt.Sprintf("type \"%s image copy %s:%s local: --alias NAME\" and use local:NAME", s.tool.Name, name, alias)}
	}
	return map[string]any{"type": "image", "mode": "pull", "server": remote.Addr, "protocol": remote.Protocol, "alias": alias}, nil
}

// aliasPrefix begins the names of the images that this driver made.
const aliasPrefix = "assay-"

// aliasOf names the container image that is made of img and the agent: another
// one if either, or the way of making it, is another.
func aliasOf(img vm.Image, agent []byte) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %x", rootfsVersion, img.Digest, img.Arch, sha256.Sum256(agent)))
	return fmt.Sprintf("%s%x", aliasPrefix, sum[:10])
}

// imported returns the fingerprint of the container image that is made of spec's
// image, and makes it if the server does not have it yet.
func (d *driver) imported(ctx context.Context, s *server, spec vm.Spec) (string, error) {
	d.imports.Lock()
	defer d.imports.Unlock()
	agent, err := d.cfg.Agents(spec.Image.Arch)
	if err != nil {
		return "", err
	}
	alias := aliasOf(spec.Image, agent)
	fingerprint, err := s.alias(ctx, alias)
	if !errors.Is(err, fs.ErrNotExist) {
		return fingerprint, err
	}
	progress(spec, "importing image")
	if err := d.importImage(ctx, s, spec.Image, agent, alias); err != nil {
		return "", err
	}
	return s.alias(ctx, alias)
}

// alias returns the fingerprint of the image that the server calls so.
func (s *server) alias(ctx context.Context, alias string) (string, error) {
	var a struct {
		Target string `json:"target"`
	}
	err := s.get(ctx, "/1.0/images/aliases/"+url.PathEscape(alias), &a)
	return a.Target, err
}

// importLimit is how long the server may take to store an image.
const importLimit = 10 * time.Minute

// importImage makes a container image of img's files. One that another process
// makes at the same time is the same.
func (d *driver) importImage(ctx context.Context, s *server, img vm.Image, agent []byte, alias string) error {
	work, err := os.MkdirTemp(d.workDir(), "incus-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "image.tar")
	fingerprint, err := writeImage(ctx, file, img, agent)
	if err != nil {
		return err
	}
	_, err = s.tool.Do(ctx, cli.Call{Args: []string{"image", "import", file, "--alias", alias}, Limit: importLimit})
	if errors.Is(err, fs.ErrExist) { // an import that was cut off had come as far as this
		err = s.change(ctx, "", "POST", "/1.0/images/aliases", map[string]any{"name": alias, "target": fingerprint})
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
	}
	return err
}

// workDir is where large files may lie for a moment; "" is the system's folder.
func (d *driver) workDir() string {
	if d.cfg.Home == "" {
		return ""
	}
	dir := filepath.Join(d.cfg.Home, "drivers", driverName)
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// unusedFor is how long an image that nobody used stays.
const unusedFor = 7 * 24 * time.Hour

// Trim implements vm.Trimmer: images that this driver made go when nobody used
// them for a week.
func (d *driver) Trim(ctx context.Context) (int64, error) { return d.trim(ctx, unusedFor) }

func (d *driver) trim(ctx context.Context, age time.Duration) (int64, error) {
	s, err := d.server(ctx)
	if err != nil {
		if errors.Is(err, cli.ErrNotInstalled) || errors.Is(err, fs.ErrPermission) || errors.Is(err, cli.ErrDaemon) {
			return 0, nil
		}
		return 0, err
	}
	var all []struct {
		Fingerprint string                  `json:"fingerprint"`
		Size        int64                   `json:"size"`
		Aliases     []struct{ Name string } `json:"aliases"`
		Used        time.Time               `json:"last_used_at"`
		Uploaded    time.Time               `json:"uploaded_at"`
	}
	if err := s.get(ctx, "/1.0/images?recursion=1", &all); err != nil {
		return 0, err
	}
	var freed int64
	var problems []error
	for _, i := range all {
		last := i.Used
		if i.Uploaded.After(last) {
			last = i.Uploaded
		}
		if len(i.Aliases) != 1 || !strings.HasPrefix(i.Aliases[0].Name, aliasPrefix) || time.Since(last) < age {
			continue
		}
		if err := s.change(ctx, "", "DELETE", "/1.0/images/"+url.PathEscape(i.Fingerprint), nil); err != nil {
			problems = append(problems, err)
			continue
		}
		freed += i.Size
	}
	return freed, errors.Join(problems...)
}
