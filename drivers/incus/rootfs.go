package incus

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"assay/disk"
	"assay/drivers/internal/cli"
	"assay/vm"
)

// rootfsVersion is another one whenever the container image that is made of the
// same disk is.
const rootfsVersion = 1

// writeImage makes a container image of img's root file system: one tar file,
// whose digest, which it returns, is what the server will call it. agent takes the
// place of the one that the image has.
func writeImage(ctx context.Context, file string, img vm.Image, agent []byte) (fingerprint string, err error) {
	d, err := disk.Open([]disk.Layer{{Path: img.Disk, Format: img.Format}})
	if err != nil {
		return "", err
	}
	defer d.Close()
	root, err := rootOf(d)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	p := packer{ctx: ctx, root: root, tar: tar.NewWriter(w), img: img, agent: agent,
		left: max(img.Size, d.Size()), first: map[uint32]string{}, seen: map[string]bool{}}
	if err := errors.Join(p.pack(), w.Flush()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), nil
}

// rootOf finds the file system that has /etc and /usr: the disk's only one, or
// that of the partition.
func rootOf(d *disk.Disk) (*disk.Ext4, error) {
	parts, err := d.Partitions()
	if err != nil {
		return nil, err
	}
	var kinds []string
	for _, p := range parts {
		kinds = append(kinds, p.Type)
		if !strings.HasPrefix(p.Type, "ext") {
			continue
		}
		root, err := disk.OpenExt4(io.NewSectionReader(d, p.Offset, p.Size), p.Size)
		if err != nil {
			return nil, err
		}
		names, err := root.ReadDir(disk.Root)
		if err != nil {
			return nil, err
		}
		if has(names, "etc") && has(names, "usr") {
			return root, nil
		}
	}
	return nil, &vm.UnsupportedError{Machine: driverName, Want: fmt.Sprintf("a disk with partitions of %q", kinds),
		Instead: "take an image whose root file system is ext4, or a name of Incus' own, such as images:debian/12"}
}

func has(names []disk.Dirent, name string) bool {
	for _, n := range names {
		if n.Name == name {
			return true
		}
	}
	return false
}

// maxFiles bounds what one image may hold.
const maxFiles = 4 << 20

// A packer writes a file system, which a stranger may have made, as a container
// image.
type packer struct {
	ctx   context.Context
	root  *disk.Ext4
	tar   *tar.Writer
	img   vm.Image
	agent []byte
	left  int64 // bytes of content that the disk can hold at most

	first map[uint32]string // inodes with several names, by number: the first of them
	seen  map[string]bool
}

// pack writes the image to its end.
func (p *packer) pack() error {
	meta, err := json.Marshal(metadata(p.img)) // which is YAML too
	if err != nil {
		return err
	}
	if err := p.text("metadata.yaml", 0o644, meta); err != nil {
		return err
	}
	top, err := p.root.Inode(disk.Root)
	if err != nil {
		return err
	}
	if err := p.entry("", top); err != nil {
		return err
	}
	if err := p.root.Walk(p.visit); err != nil {
		return err
	}
	return p.tar.Close()
}

// metadata is what the server wants to know of an image. It depends on nothing
// but img, so that the same files are the same image.
func metadata(img vm.Image) map[string]any {
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[img.Arch]
	if arch == "" {
		arch = img.Arch
	}
	return map[string]any{
		"architecture": arch, "creation_date": 1,
		"properties": map[string]string{
			"description": "made by assay of " + img.Name, "os": img.OS, "release": img.Version, "assay.digest": img.Digest,
		},
	}
}

func (p *packer) text(name string, mode int64, data []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(1, 0)}
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err := p.tar.Write(data)
	return err
}

// visit writes one file.
func (p *packer) visit(name string, i *disk.Inode, err error) error {
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case p.seen[name]:
		return fmt.Errorf("%s: got two files of that name, want one", name)
	case len(p.seen) == maxFiles:
		return fmt.Errorf("got more than %d files, want fewer", maxFiles)
	}
	p.seen[name] = true
	if !wanted(name, i.Mode) {
		return nil
	}
	switch {
	case i.Mode&modeType != modeFile:
	case name == "/etc/fstab": // it is about disks that a container does not have
		return p.text("rootfs"+name, 0o644, nil)
	case name == cli.AgentPath:
		return p.text("rootfs"+name, 0o755, p.agent)
	}
	return p.entry(name, i)
}

// empty are the folders whose content a running system makes anew.
var empty = []string{"/dev/", "/proc/", "/sys/", "/run/", "/lost+found/"}

// wanted reports whether a file belongs into a container: no device, and not the
// start of the agent's service, which waits for a port that virtual machines have.
func wanted(name string, mode uint32) bool {
	for _, dir := range empty {
		if strings.HasPrefix(name, dir) {
			return false
		}
	}
	switch mode & modeType {
	case modeBlock, modeChar, modeSocket:
		return false
	case modeLink:
		return !(path.Base(name) == "assay-agent.service" && strings.HasSuffix(path.Dir(name), ".wants"))
	}
	return true
}

// entry writes the file that i is under its name below the image's root.
func (p *packer) entry(name string, i *disk.Inode) error {
	h := &tar.Header{
		Name: "rootfs" + name, Mode: int64(i.Mode & 0o7777), Uid: int(i.UID), Gid: int(i.GID),
		ModTime: time.Unix(0, i.Mtime), Format: tar.FormatPAX,
	}
	switch i.Mode & modeType {
	case modeFolder:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case modeFIFO:
		h.Typeflag = tar.TypeFifo
	case modeLink:
		h.Typeflag = tar.TypeSymlink
		var err error
		if h.Linkname, err = p.root.Readlink(i.Number); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	case modeFile:
		return p.regular(name, i, h)
	default:
		return fmt.Errorf("%s: got a file of mode %o, which is none: %w", name, i.Mode, fs.ErrInvalid)
	}
	return p.tar.WriteHeader(h)
}

// regular writes a file, or that it is another name of one.
func (p *packer) regular(name string, i *disk.Inode, h *tar.Header) error {
	if first, known := p.first[i.Number]; known {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return p.tar.WriteHeader(h)
	}
	if i.Nlink > 1 {
		p.first[i.Number] = h.Name
	}
	if p.left -= i.Size; p.left < 0 {
		return fmt.Errorf("%s: got more content than the disk can hold", name)
	}
	f, err := p.root.OpenInode(i)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	xattrs, err := p.root.InodeXattrs(i)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for key, value := range xattrs {
		if key == "security.capability" || strings.HasPrefix(key, "user.") {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+key] = string(value)
		}
	}
	h.Typeflag, h.Size = tar.TypeReg, i.Size
	if err := p.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err = io.Copy(p.tar, f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
