package incus

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"assay/drivers/drivertest"
	"assay/vm"
)

// ext4 makes a disk with a file system of what is below dir, which debugfs then
// changes.
func ext4(t *testing.T, dir string, commands ...string) vm.Image {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk.raw")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		if cmd.Path == name || cmd.Err != nil {
			if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
				cmd.Path, cmd.Err = path, nil
			}
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			drivertest.Skip(t, "tools", fmt.Sprintf("%s: %v: %s", name, err, out))
		}
	}
	run("mke2fs", "-q", "-t", "ext4", "-d", dir, file, "16M")
	script := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(script, []byte(strings.Join(commands, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("debugfs", "-w", "-f", script, file)
	return vm.Image{Name: "debian-12", OS: "debian", Version: "12", Arch: "amd64", Digest: "sha256:00", Disk: file, Format: "raw", Size: 16 << 20}
}

// tree makes a folder that looks like a system's root.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"etc/fstab": "/dev/vda / ext4\n", "usr/bin/tool": "#!/bin/sh\n", "usr/lib/assay/assay-agent": "old", "run/left": "x", "dev/left": "x", "a b ä": "",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	wants := filepath.Join(dir, "etc/systemd/system/sysinit.target.wants")
	if err := errors.Join(
		os.Chmod(filepath.Join(dir, "usr/bin/tool"), 0o755|os.ModeSetuid),
		os.Link(filepath.Join(dir, "usr/bin/tool"), filepath.Join(dir, "usr/bin/other")),
		os.Symlink("/etc/fstab", filepath.Join(dir, "etc/link")),
		os.MkdirAll(wants, 0o755),
		os.Symlink("../assay-agent.service", filepath.Join(wants, "assay-agent.service")),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

// packed writes an image and reads it back.
func packed(t *testing.T, img vm.Image) (map[string]*tar.Header, map[string]string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if _, err := writeImage(context.Background(), file, img, []byte("new")); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	headers, texts := map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers, texts, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		if headers[h.Name] != nil {
			t.Errorf("%s is there twice", h.Name)
		}
		text, _ := io.ReadAll(r)
		headers[h.Name], texts[h.Name] = h, string(text)
	}
}

// A container image is the disk's files, but for what only a computer has.
func TestRootfs(t *testing.T) {
	img := ext4(t, tree(t),
		"cd /dev", "mknod null c 1 3", "cd /usr", "mknod device b 8 0", "mknod pipe p", "cd /", "ea_set usr/bin/tool user.note hello", "ea_set usr/bin/tool trusted.secret x")
	headers, texts, err := packed(t, img)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rootfs/dev/null", "rootfs/dev/left", "rootfs/run/left", "rootfs/usr/device", "rootfs/lost+found/x",
		"rootfs/etc/systemd/system/sysinit.target.wants/assay-agent.service"} {
		if headers[name] != nil {
			t.Errorf("%s is there, want it left out", name)
		}
	}
	for name, want := range map[string]string{
		"rootfs/etc/fstab": "", "rootfs/usr/lib/assay/assay-agent": "new", "rootfs/a b ä": "", "rootfs/dev/": "", "rootfs/usr/pipe": "", "rootfs/": "",
	} {
		if h := headers[name]; h == nil || texts[name] != want {
			t.Errorf("%s: got %v with %q, want %q", name, h, texts[name], want)
		}
	}
	names := []string{"rootfs/usr/bin/tool", "rootfs/usr/bin/other"}
	i := slices.IndexFunc(names, func(n string) bool { return headers[n].Typeflag == tar.TypeReg })
	if i < 0 {
		t.Fatal("neither name of a file with two is a file")
	}
	file, link := headers[names[i]], headers[names[1-i]]
	if texts[file.Name] != "#!/bin/sh\n" || file.Mode&0o7777 != 0o4755 || file.PAXRecords["SCHILY.xattr.user.note"] != "hello" || len(file.PAXRecords) > 3 {
		t.Errorf("got %+v with %q, want a setuid script with a note", file, texts[file.Name])
	}
	if link.Typeflag != tar.TypeLink || link.Linkname != file.Name {
		t.Errorf("got %+v, want a link to %s", link, file.Name)
	}
	if h := headers["rootfs/etc/link"]; h == nil || h.Linkname != "/etc/fstab" {
		t.Errorf("got %+v, want a symlink as it was", h)
	}
	if !strings.Contains(texts["metadata.yaml"], `"architecture":"x86_64"`) {
		t.Errorf("got the metadata %s", texts["metadata.yaml"])
	}
}

// The same disk and agent are the same image; another agent, or disk, is another.
func TestRootfsIsReproducible(t *testing.T) {
	img := ext4(t, tree(t))
	write := func(agent string) string {
		t.Helper()
		sum, err := writeImage(t.Context(), filepath.Join(t.TempDir(), "image.tar"), img, []byte(agent))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if one, two := write("a"), write("a"); one != two {
		t.Errorf("got %s and %s, want the same", one, two)
	}
	if one, two := write("a"), write("b"); one == two {
		t.Error("two agents, one image")
	}
	other := img
	other.Digest = "sha256:01"
	names := map[string]bool{}
	for _, alias := range []string{aliasOf(img, []byte("a")), aliasOf(img, []byte("b")), aliasOf(other, []byte("a"))} {
		names[alias] = true
	}
	if len(names) != 3 {
		t.Errorf("got %v, want three names", names)
	}
}

// A disk that somebody made to harm whoever unpacks it is refused.
func TestRootfsOfAStranger(t *testing.T) {
	dir := tree(t)
	for _, name := range []string{"usr/tWin", "usr/twIn"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	img := ext4(t, dir)
	disk, err := os.ReadFile(img.Disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(img.Disk, bytes.ReplaceAll(disk, []byte("tWin"), []byte("twIn")), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, img := range map[string]vm.Image{
		"got two files of that name": img,
		"more content than the disk": ext4(t, tree(t), "sif usr/bin/tool size 4000000000000"),
	} {
		if _, _, err := packed(t, img); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	empty := t.TempDir()
	if _, _, err := packed(t, ext4(t, empty)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a disk without a system: got %v, want errors.ErrUnsupported", err)
	}
	img = ext4(t, tree(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "image.tar")
	if _, err := writeImage(ctx, file, img, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}
