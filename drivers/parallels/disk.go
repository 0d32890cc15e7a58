package parallels

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"assay/drivers/internal/cli"
	"assay/vm"
)

// A disk of Parallels is a folder: a description, and the file that it names. In
// the plain form that file is the disk, byte for byte.
const (
	descriptionName = "DiskDescriptor.xml"
	plainName       = "disk.hds"
)

// Geometry that the description wants and no guest looks at.
const (
	sectorSize = 512
	heads      = 16
	sectors    = 63
)

// description of a plain disk: size in sectors twice, cylinders before.
const description = `<?xml version="1.0" encoding="UTF-8"?>
<Parallels_disk_image Version="1.0">
    <Disk_Parameters>
        <Disk_size>%[1]d</Disk_size>
        <Cylinders>%[2]d</Cylinders>
        <Heads>%[3]d</Heads>
        <Sectors>%[4]d</Sectors>
        <Padding>0</Padding>
    </Disk_Parameters>
    <StorageData>
        <Storage>
            <Start>0</Start>
            <End>%[1]d</End>
            <Blocksize>2048</Blocksize>
            <Image>
                <GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>
                <Type>Plain</Type>
                <File>%[5]s</File>
            </Image>
        </Storage>
    </StorageData>
    <Snapshots>
        <Shot>
            <GUID>{5fbaabe3-6958-40ff-92a7-860e329aab41}</GUID>
            <ParentGUID>{00000000-0000-0000-0000-000000000000}</ParentGUID>
        </Shot>
    </Snapshots>
</Parallels_disk_image>
`

// writeDisk makes a plain disk of an image, as large as the spec says.
func writeDisk(ctx context.Context, dir string, spec vm.Spec) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	plain := filepath.Join(dir, plainName)
	if err := cli.Raw(ctx, spec.Image, plain, cli.MiB(max(spec.Disk, spec.Image.Size))<<20); err != nil {
		return fmt.Errorf("image %s: %w", spec.Image.Name, err)
	}
	info, err := os.Stat(plain)
	if err != nil {
		return err
	}
	n := info.Size() / sectorSize
	text := fmt.Sprintf(description, n, n/(heads*sectors), heads, sectors, plainName)
	return os.WriteFile(filepath.Join(dir, descriptionName), []byte(text), 0o600)
}
