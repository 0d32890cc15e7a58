// Package imagetest makes stand-ins for the cloud images that vendors publish:
// partitioned disks with GRUB, cloud-init and an ext4 root on partition 1, made
// of Debian's packages. They have no agent and know nothing of assay.
//
// It is for tests that need such a disk and cannot download one. It knows boot
// sectors and partition tables; it does not know the image store.
package imagetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Options says what disk to make.
type Options struct {
	Suite    string   // of Debian; default: bookworm
	Firmware string   // bios (default) or uefi: what the disk can be booted with
	Packages []string // beside those that make it boot
}

// Where the partitions are, in sectors of 512 bytes.
const (
	sector    = 512
	rootStart = 2048
	rootSize  = 3 << 30 / sector
	espStart  = rootStart + rootSize
	espSize   = 64 << 20 / sector
	diskSize  = espStart + espSize + 2048
)

// packages make a system that boots from its own disk and does what a vendor's
// cloud image does at its first boot.
var packages = []string{
	"linux-image-cloud-amd64", "initramfs-tools", "systemd", "systemd-sysv", "udev", "dbus", "cloud-init",
	"cloud-guest-utils", "sudo", "iproute2", "netbase", "e2fsprogs", "fdisk",
	"grub-pc-bin", "grub-efi-amd64-bin", "grub2-common",
}

// CloudDisk makes a raw disk at path. It needs root, mmdebstrap and mke2fs; a
// uefi disk also sfdisk, mkfs.vfat and mcopy. It takes a minute or two.
func CloudDisk(ctx context.Context, path string, opt Options) error {
	if os.Geteuid() != 0 {
		return errors.New("cloud disk: got an ordinary user, want root")
	}
	if opt.Suite == "" {
		opt.Suite = "bookworm"
	}
	work, err := os.MkdirTemp(filepath.Dir(path), "cloud-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	if err := makeRoot(ctx, root, opt); err != nil {
		return fmt.Errorf("cloud disk: files: %w", err)
	}
	if err := makeDisk(ctx, root, path, opt); err != nil {
		os.Remove(path)
		return fmt.Errorf("cloud disk: %w", err)
	}
	return nil
}

// makeRoot makes the files of the root partition, and GRUB's images in /tmp.
func makeRoot(ctx context.Context, root string, opt Options) error {
	err := run(ctx, "mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory",
		"--include="+strings.Join(slices.Concat(packages, opt.Packages), ","), `--aptopt=Acquire::Languages "none"`,
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		opt.Suite, root)
	if err != nil {
		return err
	}
	for name, text := range rootFiles {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	kernels, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return fmt.Errorf("got kernels %q, want one", kernels)
	}
	release := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	if err := os.MkdirAll(filepath.Join(root, "boot/grub"), 0o755); err != nil {
		return err
	}
	cfg := fmt.Sprintf("set timeout=0\nlinux /boot/vmlinuz-%s root=LABEL=cloudimg-root ro console=ttyS0 panic=-1\ninitrd /boot/initrd.img-%s\nboot\n", release, release)
	if err := os.WriteFile(filepath.Join(root, "boot/grub/grub.cfg"), []byte(cfg), 0o644); err != nil {
		return err
	}
	if err := run(ctx, "chroot", root, "systemctl", "enable", "systemd-networkd"); err != nil {
		return err
	}
	return makeGrub(ctx, root, opt)
}

// rootFiles are what a vendor sets up beside the packages.
var rootFiles = map[string]string{
	"etc/fstab":                            "LABEL=cloudimg-root / ext4 defaults 0 1\n",
	"etc/hostname":                         "cloud\n",
	"etc/machine-id":                       "uninitialized\n",
	"etc/cloud/cloud.cfg.d/90-network.cfg": "system_info:\n  network:\n    renderers: [networkd]\n",
}

// makeGrub leaves GRUB's program as /tmp/grub.img in root.
func makeGrub(ctx context.Context, root string, opt Options) error {
	format, prefix := "i386-pc", "(hd0,msdos1)/boot/grub"
	modules := []string{"part_msdos", "part_gpt", "ext2", "normal", "linux", "configfile", "echo", "test", "boot"}
	if opt.Firmware == "uefi" {
		format, prefix = "x86_64-efi", "(hd0,gpt1)/boot/grub"
	} else {
		modules = append(modules, "biosdisk")
	}
	return run(ctx, "chroot", append([]string{root, "grub-mkimage", "-O", format, "-o", "/tmp/grub.img", "-p", prefix}, modules...)...)
}

// makeDisk lays the disk out: boot sector, root partition, EFI system partition.
func makeDisk(ctx context.Context, root, path string, opt Options) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(diskSize*sector), f.Close()); err != nil {
		return err
	}
	grub, err := os.ReadFile(filepath.Join(root, "tmp/grub.img"))
	if err != nil {
		return err
	}
	boot, err := os.ReadFile(filepath.Join(root, "usr/lib/grub/i386-pc/boot.img"))
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(root, "tmp/grub.img")); err != nil {
		return err
	}
	err = run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "cloudimg-root", "-d", root,
		"-E", fmt.Sprintf("offset=%d", rootStart*sector), path, fmt.Sprintf("%dk", rootSize*sector/1024))
	if err != nil {
		return err
	}
	if opt.Firmware == "uefi" {
		return makeUEFI(ctx, path, grub)
	}
	return writeMBR(path, boot, grub)
}

// writeMBR writes a boot sector with one partition, and GRUB between it and the
// partition. GRUB's sectors are where its programs expect them unpatched.
func writeMBR(path string, boot, grub []byte) error {
	if len(boot) < 440 || len(grub) > (rootStart-1)*sector {
		return fmt.Errorf("GRUB: got %d and %d bytes, want at least 440 and at most %d", len(boot), len(grub), (rootStart-1)*sector)
	}
	mbr := make([]byte, sector)
	copy(mbr[:440], boot)
	entry := mbr[446:462]
	entry[0], entry[4] = 0x80, 0x83 // active, Linux
	binary.LittleEndian.PutUint32(entry[8:], rootStart)
	binary.LittleEndian.PutUint32(entry[12:], rootSize)
	mbr[510], mbr[511] = 0x55, 0xAA
	return writeAt(path, 0, append(mbr, grub...))
}

// makeUEFI writes a GUID partition table and an EFI system partition.
func makeUEFI(ctx context.Context, path string, grub []byte) error {
	esp, efi := path+".esp", path+".efi"
	defer os.Remove(esp)
	defer os.Remove(efi)
	layout := fmt.Sprintf("label: gpt\n1: start=%d, size=%d, type=linux\n15: start=%d, size=%d, type=uefi\n", rootStart, rootSize, espStart, espSize)
	if err := runWith(ctx, strings.NewReader(layout), "sfdisk", "--quiet", path); err != nil {
		return err
	}
	if err := os.WriteFile(efi, grub, 0o644); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"mkfs.vfat", "-C", esp, fmt.Sprint(espSize * sector / 1024)},
		{"mmd", "-i", esp, "::EFI", "::EFI/BOOT"},
		{"mcopy", "-i", esp, efi, "::EFI/BOOT/BOOTX64.EFI"},
	} {
		if err := run(ctx, argv[0], argv[1:]...); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(esp)
	if err != nil {
		return err
	}
	return writeAt(path, espStart*sector, data)
}

func writeAt(path string, offset int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, offset)
	return errors.Join(err, f.Close())
}

func run(ctx context.Context, name string, args ...string) error {
	return runWith(ctx, nil, name, args...)
}

// runWith runs a tool; its error has the end of what the tool said.
func runWith(ctx context.Context, stdin io.Reader, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = stdin
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out[max(0, len(out)-1024):]))
	}
	return nil
}
