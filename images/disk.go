package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxDisk bounds an imported disk's virtual size, in bytes.
const maxDisk = 2 << 40

// diskFile is what a disk's first bytes say. The file is not believed: whoever
// made it could name any file of the host as its backing file.
type diskFile struct {
	format string // qcow2 or raw
	size   int64  // virtual, bytes
}

// foreign are beginnings of files that are not imported, with what to do.
var foreign = []struct{ magic, what string }{
	{"KDMV", "a VMware disk; convert it with qemu-img convert -O qcow2"},
	{"vhdxfile", "a Hyper-V disk; convert it with qemu-img convert -O qcow2"},
	{"conectix", "a VHD disk; convert it with qemu-img convert -O qcow2"},
	{"<<< ", "a VirtualBox disk; convert it with qemu-img convert -O qcow2"},
	{"\xfd7zXZ", "compressed; unpack it with xz -d"},
	{"\x1f\x8b", "compressed; unpack it with gunzip"},
	{"\x28\xb5\x2f\xfd", "compressed; unpack it with zstd -d"},
	{"BZh", "compressed; unpack it with bunzip2"},
	{"PK\x03\x04", "a zip archive; unpack it"},
}

// inspectDisk reads the head of a disk file.
func inspectDisk(name string) (diskFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return diskFile{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return diskFile{}, err
	}
	if !info.Mode().IsRegular() {
		return diskFile{}, fmt.Errorf("got a %s, want a disk image file", kindOf(info.Mode()))
	}
	head := make([]byte, 1024)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return diskFile{}, err
	}
	return parseHead(head[:n], info.Size())
}

func kindOf(mode os.FileMode) string {
	if mode.IsDir() {
		return "folder"
	}
	return "special file"
}

// parseHead tells the format of a file of the given size from its beginning.
func parseHead(head []byte, size int64) (diskFile, error) {
	if bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return parseQcow2(head)
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return diskFile{}, fmt.Errorf("got %s, want a qcow2 or raw disk", f.what)
		}
	}
	if !isBootSector(head) {
		return diskFile{}, fmt.Errorf("got a file without a partition table, want a qcow2 or raw disk that boots itself")
	}
	if size > maxDisk {
		return diskFile{}, tooLarge(size)
	}
	return diskFile{"raw", size}, nil
}

func isBootSector(head []byte) bool {
	return len(head) >= 512 && head[510] == 0x55 && head[511] == 0xAA
}

func tooLarge(size int64) error {
	return fmt.Errorf("got a disk of %d bytes, want at most %d", size, int64(maxDisk))
}

// parseQcow2 reads a qcow2 header, and refuses one that leads to other files.
func parseQcow2(head []byte) (diskFile, error) {
	if len(head) < 104 {
		return diskFile{}, fmt.Errorf("got a qcow2 header of %d bytes, want at least 104", len(head))
	}
	be := binary.BigEndian
	version, backing, crypt := be.Uint32(head[4:]), be.Uint64(head[8:]), be.Uint32(head[32:])
	size := be.Uint64(head[24:])
	const externalData = 1 << 2
	switch {
	case version != 2 && version != 3:
		return diskFile{}, fmt.Errorf("got qcow2 version %d, want 2 or 3", version)
	case backing != 0:
		return diskFile{}, fmt.Errorf("got a qcow2 disk with a backing file, want one that stands alone; flatten it with qemu-img convert -O qcow2")
	case version == 3 && be.Uint64(head[72:])&externalData != 0:
		return diskFile{}, fmt.Errorf("got a qcow2 disk with its data in another file, want one that stands alone")
	case crypt != 0:
		return diskFile{}, fmt.Errorf("got an encrypted qcow2 disk, want one that is not")
	case size > maxDisk:
		return diskFile{}, tooLarge(int64(min(size, 1<<62)))
	}
	return diskFile{"qcow2", int64(size)}, nil
}

// espType is the type of an EFI system partition in a GUID partition table, as
// it is on the disk.
var espType, _ = hex.DecodeString("28732ac11ff8d211ba4b00a0c93ec93b")

// firmwareOf returns the firmware that a disk wants, from its first MiB: bios
// when its boot sector has code, else uefi when it has an EFI system partition.
func firmwareOf(head []byte) (string, error) {
	if !isBootSector(head) {
		return "", fmt.Errorf("got a disk without a partition table, want one that boots itself")
	}
	table := head[min(1024, len(head)):min(1024+16384, len(head))]
	hasCode := !bytes.Equal(head[:4], make([]byte, 4))
	hasESP := bytes.Contains(table, espType) || hasPartition(head, 0xEF)
	switch {
	case hasCode:
		return "bios", nil
	case hasESP:
		return "uefi", nil
	}
	return "", fmt.Errorf("got a disk with neither boot code nor an EFI system partition, want one that boots itself")
}

// hasPartition reports whether the boot sector's table has a partition of that type.
func hasPartition(head []byte, kind byte) bool {
	for at := 446; at < 510; at += 16 {
		if head[at+4] == kind {
			return true
		}
	}
	return false
}

// convertTo copies a disk to dir/disk.qcow2, so that nothing of its first file's
// shape but the bytes that a guest sees is kept, and tells its firmware.
func convertTo(ctx context.Context, file string, d diskFile, dir string) (disk, firmware string, err error) {
	start := filepath.Join(dir, "start")
	err = limited(ctx, "qemu-img", "dd", "-f", d.format, "-O", "raw", "bs=1048576", "count=1", "if="+file, "of="+start)
	if err != nil {
		return "", "", err
	}
	head, err := readBounded(start, 1<<20)
	if err = errors.Join(err, os.Remove(start)); err != nil {
		return "", "", err
	}
	if firmware, err = firmwareOf(head); err != nil {
		return "", "", err
	}
	disk = filepath.Join(dir, "disk.qcow2")
	if err := limited(ctx, "qemu-img", "convert", "-f", d.format, "-O", "qcow2", file, disk); err != nil {
		return "", "", err
	}
	return disk, firmware, os.Chmod(disk, 0o444)
}

// limited runs a tool that reads a stranger's file, with 2 GiB of memory.
func limited(ctx context.Context, argv ...string) error {
	return command{argv: append([]string{"prlimit", "--as=2147483648"}, argv...), env: toolEnv()}.run(ctx)
}

// plainName makes a file's name fit for a message and a record.
func plainName(name string) string {
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, filepath.Base(name)), "?")
}
