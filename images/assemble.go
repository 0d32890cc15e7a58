package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay"
	"assay/vm"

	"github.com/klauspost/compress/zstd"
)

const (
	// diskBytes is the virtual size of a built image. Only what is used of it
	// occupies the host's disk.
	diskBytes = 8 << 30
	// needBytes is what must be free while an image is made.
	needBytes = 3 << 30
	// kernelArgs boot a built image. The mitigations cost an emulated CPU a third
	// of its speed and guard nothing in a machine that is thrown away.
	kernelArgs = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off panic=-1"
)

// mkfsOptions make a file system that does not depend on the host's
// mke2fs.conf, that old guests can check, and that needs nothing done at its
// first mount. Metadata checksums are off: they cost an emulated CPU time.
var mkfsOptions = []string{
	"-q", "-F", "-t", "ext4", "-b", strconv.Itoa(ext4Block), "-I", strconv.Itoa(ext4InodeSize), "-i", "32768", "-m", "1", "-L", "assay", "-J", "size=16",
	"-O", "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,uninit_bg",
}

// untarOptions keep owners and capabilities, and leave out what is assay's own
// and what is in /dev: the kernel fills it, and a user namespace could not.
var untarOptions = []string{"-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--exclude=./" + privateDir, "--exclude=./dev/*"}

// diskDigest names everything that a built disk depends on besides its base and agent.
func (k known) diskDigest() string {
	var b bytes.Buffer
	if err := writeOverlay(&b, overlay(k, nil)); err != nil {
		panic(err) // writes to memory
	}
	return digest([]byte(k.baseDigest()), b.Bytes(), initScript, []byte(strings.Join(bootModules, ",")),
		[]byte(strings.Join(slices.Concat(untarOptions, mkfsOptions), " ")), []byte(kernelArgs), []byte(strconv.Itoa(diskBytes)))
}

// assemble makes a version in dir out of a base and an agent.
func assemble(ctx context.Context, k known, b base, agent []byte, work *tempDir, dir string, progress func(string)) (Record, error) {
	root := filepath.Join(work.shared, "root")
	raw := filepath.Join(work.shared, "disk.raw")
	progress("unpacking the files")
	found, err := unpackRoot(ctx, k, b, agent, root)
	if err != nil {
		return Record{}, err
	}
	progress("making the file system")
	if err := makeFilesystem(ctx, k.Name, b.Epoch, root, raw, diskBytes); err != nil {
		return Record{}, err
	}
	removeTree(root)
	progress("writing the disk")
	rec, err := writeDisk(ctx, raw, dir)
	if err != nil {
		return rec, err
	}
	if err := writeBoot(found.boot, dir, &rec); err != nil {
		return rec, err
	}
	fillRecord(&rec, k, b, agent, found)
	return rec, os.Remove(raw)
}

// unpackRoot unpacks a base and what goes over it into root.
func unpackRoot(ctx context.Context, k known, b base, agent []byte, root string) (*rootfs, error) {
	if err := asRoot(ctx, nil, "mkdir", root); err != nil {
		return nil, err
	}
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zr, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer zr.Close()
	untar := append([]string{"tar", "-C", root, "-x", "-f", "-"}, untarOptions...)
	found, err := whileScanning(b.Made, func(w io.Writer) error {
		err := asRoot(ctx, io.TeeReader(zr, w), untar...)
		_, rest := io.Copy(w, zr) // tar stops at the archive's end, before the stream's
		return errors.Join(err, rest)
	})
	if err != nil {
		return nil, err
	}
	var over bytes.Buffer
	if err := writeOverlay(&over, overlay(k, agent)); err != nil {
		return nil, err
	}
	return found, asRoot(ctx, &over, "tar", "-C", root, "-x", "-p", "--owner=0", "--group=0", "--numeric-owner", "--no-overwrite-dir", "-f", "-")
}

// asRoot runs a tool as root, or as the root of a user namespace.
func asRoot(ctx context.Context, stdin io.Reader, argv ...string) error {
	return command{argv: rootArgv(argv), env: toolEnv(), stdin: stdin}.run(ctx)
}

func rootArgv(argv []string) []string {
	if os.Geteuid() == 0 {
		return argv
	}
	return append([]string{"mmdebstrap", "--unshare-helper"}, argv...)
}

// removeTree frees the disk that a tree occupies. What cannot be removed goes
// with its temporary folder.
func removeTree(root string) {
	asRoot(context.Background(), nil, "rm", "-rf", "--", root)
}

// makeFilesystem makes a raw disk of size bytes with the files of root, the same
// bytes for the same files and name.
func makeFilesystem(ctx context.Context, name string, epoch int64, root, raw string, size int64) error {
	f, err := os.OpenFile(raw, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if os.Geteuid() != 0 {
		mode = 0o666 // mke2fs has another id then; the folder is private
	}
	if err := errors.Join(f.Chmod(mode), f.Truncate(size), f.Close()); err != nil {
		return err
	}
	argv := append([]string{"mke2fs"}, mkfsOptions...)
	argv = append(argv, "-U", uuidOf(name+" disk"),
		"-E", "lazy_itable_init=0,lazy_journal_init=0,hash_seed="+uuidOf(name+" hash"), "-d", root, raw)
	now := strconv.FormatInt(epoch, 10)
	env := toolEnv("E2FSPROGS_FAKE_TIME="+now, "SOURCE_DATE_EPOCH="+now, "MKE2FS_CONFIG=/dev/null")
	if err := (command{argv: rootArgv(argv), env: env}).run(ctx); err != nil {
		return err
	}
	return fixTimes(raw, epoch)
}

// uuidOf returns a UUID that depends on text alone.
func uuidOf(text string) string {
	h := sha256.Sum256([]byte("assay " + text))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// writeDisk converts a raw disk to dir/disk.qcow2 and starts its record.
func writeDisk(ctx context.Context, raw, dir string) (Record, error) {
	disk := filepath.Join(dir, "disk.qcow2")
	err := command{argv: []string{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk}, env: toolEnv()}.run(ctx)
	if err != nil {
		return Record{}, err
	}
	if err := os.Chmod(disk, 0o444); err != nil {
		return Record{}, err
	}
	return diskRecord(disk, diskBytes)
}

// diskRecord starts the record of a finished qcow2 disk.
func diskRecord(disk string, size int64) (Record, error) {
	rec := Record{Format: recordFormat, Assay: assay.Version, Made: time.Now().UTC(), Seconds: map[string]float64{}}
	var err error
	rec.Image = vm.Image{Disk: disk, Format: "qcow2", Size: size}
	if rec.Image.Digest, err = digestFile(disk); err != nil {
		return rec, err
	}
	rec.Bytes = occupied(disk)
	rec.Stamp, err = stampOf(disk)
	return rec, err
}

// writeBoot writes the kernel and the initial RAM disk beside the disk.
func writeBoot(boot bootFiles, dir string, rec *Record) error {
	rec.Image.Kernel, rec.Image.Initrd = filepath.Join(dir, "vmlinuz"), filepath.Join(dir, "initrd")
	rec.Image.Append = kernelArgs
	var initrd bytes.Buffer
	if err := makeInitrd(&initrd, boot); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(rec.Image.Kernel, boot.kernel, 0o444), os.WriteFile(rec.Image.Initrd, initrd.Bytes(), 0o444))
}

// fillRecord says in rec what the image's files say of themselves.
func fillRecord(rec *Record, k known, b base, agent []byte, found *rootfs) {
	rec.How, rec.Recipe, rec.Agent = "build", k.diskDigest(), agentDigest(agent)
	rec.Image.Name, rec.Image.OS, rec.Image.Version, rec.Image.Arch = k.Name, k.OS, k.Version, k.Arch
	rec.OS = assay.OS{
		ID: found.osRelease["ID"], Version: found.osRelease["VERSION_ID"], Key: assay.VersionKey(found.osRelease["VERSION_ID"]),
		Name: found.osRelease["PRETTY_NAME"], Kernel: found.boot.release, Arch: k.Arch,
	}
	rec.Epoch, rec.Packages, rec.Rootfs = b.Epoch, found.packages, found.bytes
	rec.Tools = map[string]string{"mmdebstrap": strings.TrimPrefix(b.Tool, "mmdebstrap ")}
}
