package capture

import (
	"errors"
	"fmt"

	"assay/disk"
	"assay/vm"
)

// hostReads are the types of partition that the host reads.
var hostReads = map[string]bool{"ext2": true, "ext3": true, "ext4": true}

// findRoot finds the partition of a guest's root folder, and opens its file system.
func findRoot(d *disk.Disk) (disk.Partition, *disk.Ext4, error) {
	parts, err := d.Partitions()
	if err != nil {
		return disk.Partition{}, nil, err
	}
	var others []string
	var failures []error
	for _, p := range parts {
		if !hostReads[p.Type] {
			if p.Type != "" {
				others = append(others, p.Type)
			}
			continue
		}
		fsys, err := openPartition(d, p)
		if err == nil && isRoot(fsys) {
			return p, fsys, nil
		}
		failures = append(failures, err)
	}
	if err := errors.Join(failures...); err != nil {
		return disk.Partition{}, nil, err
	}
	return disk.Partition{}, nil, fmt.Errorf("no ext4 with an /etc and a /usr on the disk, which holds %q", others)
}

func openPartition(d *disk.Disk, p disk.Partition) (*disk.Ext4, error) {
	fsys, err := disk.OpenExt4(section{d, p.Offset}, p.Size)
	if err != nil {
		return nil, fmt.Errorf("partition %d: %w", p.Number, err)
	}
	return fsys, nil
}

// section is a disk from an offset on.
type section struct {
	d   *disk.Disk
	off int64
}

func (s section) ReadAt(p []byte, off int64) (int, error) { return s.d.ReadAt(p, s.off+off) }

// isRoot reports whether a file system looks like one that a system starts from.
func isRoot(fsys *disk.Ext4) bool {
	entries, err := fsys.ReadDir(disk.Root)
	n := 0
	for _, e := range entries {
		if e.Name == "etc" || e.Name == "usr" {
			n++
		}
	}
	return err == nil && n == 2
}

// touchedSince returns the inodes that are not what the first n layers of a disk
// held of them.
func touchedSince(d *disk.Disk, root disk.Partition, fsys *disk.Ext4, layers []vm.Layer, n int) (*disk.InodeSet, error) {
	old, err := openLayers(layers[:n])
	if err != nil {
		return nil, err
	}
	defer old.Close()
	oldRoot, before, err := findRoot(old)
	if err != nil {
		return nil, err
	}
	same, err := fsys.LaidOutLike(before)
	if err != nil {
		return nil, err
	}
	if !same || oldRoot.Offset != root.Offset {
		return nil, errors.New("the file system was laid out anew")
	}
	changed, err := d.Changed(n)
	if err != nil {
		return nil, err
	}
	return fsys.TouchedSince(before, changed.Within(root.Offset, root.Size))
}
