package guest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// The shape of the trees that travel.
const (
	maxTreeDepth = 128
	smallFile    = 64 << 10 // read whole, whatever size the kernel names: /proc says 0
	maxGrown     = 1 << 20  // what a small file may have grown to when it is read
)

// A packer writes a tree as a tar stream whose names begin with the root's name.
// It follows no link below the root.
type packer struct {
	ctx   context.Context
	w     *bufio.Writer
	bound PullOptions
	large func(*os.File, int64) io.Reader // reads the content of files; nil: as they are
	stats TransferStats
}

// pack writes the file or tree at root, under the name base, to w. A root that
// is a symlink is followed; links below it are packed as links. What is neither
// file, folder nor link is skipped and named.
func pack(ctx context.Context, root, base string, bound PullOptions, w io.Writer) (TransferStats, error) {
	p := packer{ctx: ctx, bound: bound}
	return p.pack(root, base, w)
}

func (p *packer) pack(root, base string, w io.Writer) (TransferStats, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return TransferStats{}, err
	}
	info, err := os.Lstat(root)
	if err != nil {
		return TransferStats{}, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return TransferStats{}, fmt.Errorf("%s: got %s, want a file or a folder", root, info.Mode().Type())
	}
	p.w, p.bound = bufio.NewWriterSize(w, chunkSize), p.bound.orDefault()
	if err := p.add(root, base, info, 0); err != nil {
		return p.stats, err
	}
	if err := tar.NewWriter(p.w).Close(); err != nil {
		return p.stats, err
	}
	return p.stats, p.w.Flush()
}

// header writes an entry's header and nothing else: content need not pass
// through a tar.Writer.
func (p *packer) header(h *tar.Header) error {
	return tar.NewWriter(p.w).WriteHeader(h)
}

// pad fills the last block of size bytes of content.
func (p *packer) pad(size int64) error {
	_, err := p.w.Write(make([]byte, -size&511))
	return err
}

// orDefault fills in the bounds that were not given.
func (o PullOptions) orDefault() PullOptions {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxFiles <= 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	return o
}

// count checks the bounds before another entry of size bytes is taken.
func (o PullOptions) count(t *TransferStats, name string, size int64) error {
	if n := int64(t.Files+t.Dirs) + 1; n > o.MaxFiles {
		return fmt.Errorf("%s: got more than %d files: %w", printable(name, maxPath), o.MaxFiles, ErrLimit)
	}
	if size < 0 || size > o.MaxBytes-t.Bytes {
		return fmt.Errorf("%s: got more than %d bytes: %w", printable(name, maxPath), o.MaxBytes, ErrLimit)
	}
	return nil
}

// skip names what is left out.
func (t *TransferStats) skip(name string) {
	if len(t.Skipped) < maxSkipped {
		t.Skipped = append(t.Skipped, name)
	}
}

// add packs one path and what is below it. What vanishes meanwhile is skipped.
func (p *packer) add(file, name string, info fs.FileInfo, depth int) error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	if depth > maxTreeDepth {
		return fmt.Errorf("%s: got a tree deeper than %d: %w", file, maxTreeDepth, ErrLimit)
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		size = 0
	}
	if err := p.bound.count(&p.stats, file, size); err != nil {
		return err
	}
	err := p.addTyped(file, name, info, depth)
	if depth > 0 && errors.Is(err, fs.ErrNotExist) {
		p.stats.skip(file + ": it vanished")
		return nil
	}
	return err
}

func (p *packer) addTyped(file, name string, info fs.FileInfo, depth int) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return p.addDir(file, name, info, depth)
	case mode.IsRegular():
		return p.addFile(file, name, info)
	case mode.Type() == fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		p.stats.Files++
		return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
	}
	p.stats.skip(file + ": " + kindOfFile(info.Mode()))
	return nil
}

// kindOfFile names what does not travel.
func kindOfFile(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "neither file, folder nor link"
}

// permissions returns the part of a mode that travels, and says what does not: a
// file of another owner must not run with that owner's rights.
func (p *packer) permissions(file string, mode fs.FileMode) int64 {
	if mode&fs.ModeSetuid != 0 {
		p.stats.skip(file + ": its setuid bit")
	}
	if mode&fs.ModeSetgid != 0 {
		p.stats.skip(file + ": its setgid bit")
	}
	return int64(mode.Perm())
}

func (p *packer) addDir(file, name string, info fs.FileInfo, depth int) error {
	entries, err := os.ReadDir(file)
	if err != nil {
		return err
	}
	p.stats.Dirs++
	h := &tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(info.Mode().Perm())}
	if err := p.header(h); err != nil {
		return err
	}
	for _, e := range entries {
		child := filepath.Join(file, e.Name())
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			p.stats.skip(child + ": it vanished")
			continue
		}
		if err == nil {
			err = p.add(child, path.Join(name, e.Name()), info, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFile packs a regular file, if it is still the one that info describes.
func (p *packer) addFile(file, name string, info fs.FileInfo) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if now, err := f.Stat(); err != nil || !os.SameFile(now, info) {
		return fmt.Errorf("%s: it was replaced while it was read", file)
	}
	content, size := io.Reader(f), info.Size()
	if size < smallFile {
		b, err := readAll(f, maxGrown)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		content, size = bytes.NewReader(b), int64(len(b))
	} else if p.large != nil {
		content = p.large(f, size)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: p.permissions(file, info.Mode())}
	if err := p.header(h); err != nil {
		return err
	}
	n, err := p.w.ReadFrom(io.LimitReader(content, size))
	if err == nil && n < size {
		err = errors.New("it shrank while it was read")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	p.stats.Files++
	p.stats.Bytes += size
	return p.pad(size)
}

// copyBuffer is io.CopyBuffer without the short cuts that ignore the buffer, and
// with an ear for ctx.
func copyBuffer(ctx context.Context, w io.Writer, r io.Reader, buf []byte) (total int64, err error) {
	for ctx.Err() == nil {
		n, rerr := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if rerr == io.EOF {
			return total, nil
		}
		if rerr != nil {
			return total, rerr
		}
	}
	return total, context.Cause(ctx)
}
