package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"assay/disk"
	"assay/vm"
)

// rawStep is how much of a disk is copied at once.
const rawStep = 1 << 20

// Raw writes an image's disk to a new file, byte for byte and with holes where
// it is zero, grown to size if that is more than the image has. It needs no
// program of the host, and leaves no file when it fails.
func Raw(ctx context.Context, img vm.Image, path string, size int64) (err error) {
	src, err := disk.Open([]disk.Layer{{Path: img.Disk, Format: img.Format}})
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, dst.Close()); err != nil {
			os.Remove(path)
		}
	}()
	if err := dst.Truncate(max(size, src.Size())); err != nil {
		return err
	}
	return copyData(ctx, dst, src)
}

// copyData copies what is not zero.
func copyData(ctx context.Context, dst *os.File, src *disk.Disk) error {
	buf, zero := make([]byte, rawStep), make([]byte, rawStep)
	for off := int64(0); off < src.Size(); off += rawStep {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(rawStep, src.Size()-off)]
		if _, err := src.ReadAt(p, off); err != nil {
			return fmt.Errorf("read at %d: %w", off, err)
		}
		if bytes.Equal(p, zero[:len(p)]) {
			continue
		}
		if _, err := dst.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}
