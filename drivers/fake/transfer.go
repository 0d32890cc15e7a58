package fake

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"assay/guest"
)

// Receive implements guest.System.
func (g *system) Receive(ctx context.Context, p string, opt guest.PushOptions, stream io.Reader) (guest.TransferStats, error) {
	var stats guest.TransferStats
	u, ok := g.user(opt.User)
	if !ok {
		return stats, fmt.Errorf("push: user %q: %w", opt.User, fs.ErrNotExist)
	}
	target, err := g.expand(p, u)
	if err != nil {
		return stats, err
	}
	st, err := g.disk.stat(target, true)
	into := strings.HasSuffix(p, "/") || err == nil && st.IsDir()
	if into {
		target = path.Join(target, "in") // so that its parents are all there is to make
	}
	if err := g.makeParents(target, u); err != nil {
		return stats, err
	}
	r := tar.NewReader(stream)
	for ctx.Err() == nil {
		h, err := r.Next()
		if err == io.EOF {
			return stats, nil
		}
		if err != nil {
			return stats, fmt.Errorf("push: %w", err)
		}
		root, rest, _ := strings.Cut(path.Clean("/" + h.Name)[1:], "/")
		to := path.Join(target, rest)
		if into {
			to = path.Join(path.Dir(target), root, rest)
		}
		if err := g.unpack(to, h, r, u, &stats); err != nil {
			return stats, fmt.Errorf("push: %w", err)
		}
	}
	return stats, context.Cause(ctx)
}

// unpack makes what one tar entry describes.
func (g *system) unpack(to string, h *tar.Header, r io.Reader, u user, stats *guest.TransferStats) error {
	mode := h.FileInfo().Mode()
	switch h.Typeflag {
	case tar.TypeDir:
		stats.Dirs++
		if err := g.makeParents(to+"/x", u); err != nil {
			return err
		}
		return errors.Join(g.disk.chmod(to, mode, 0), g.disk.chown(to, u.uid, 0))
	case tar.TypeSymlink:
		stats.Files++
		_ = g.disk.remove(to, false, 0)
		return errors.Join(g.disk.symlink(h.Linkname, to, 0), g.disk.chown(to, u.uid, 0))
	case tar.TypeReg:
		data, err := io.ReadAll(io.LimitReader(r, g.disk.size+1))
		if err != nil {
			return err
		}
		stats.Files++
		stats.Bytes += int64(len(data))
		return g.place(to, data, mode, u)
	}
	return fmt.Errorf("%s: type %q is no file, folder or symlink", h.Name, h.Typeflag)
}

// Send implements guest.System.
func (g *system) Send(ctx context.Context, p string, opt guest.PullOptions, stream io.Writer) (guest.TransferStats, error) {
	var stats guest.TransferStats
	root, err := g.asUser(p)
	if err != nil {
		return stats, err
	}
	root = path.Clean(root)
	w := tar.NewWriter(stream)
	err = g.disk.visit(root, func(at string, st info) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return g.pack(w, path.Base(root)+strings.TrimPrefix(at, root), at, st, opt, &stats)
	})
	if err != nil {
		return stats, fmt.Errorf("pull: %w", err)
	}
	return stats, w.Close()
}

// pack writes one tar entry, within the bounds.
func (g *system) pack(w *tar.Writer, name, at string, st info, opt guest.PullOptions, stats *guest.TransferStats) error {
	h, err := tar.FileInfoHeader(st, st.target)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid = name, st.uid, st.gid
	var data []byte
	switch {
	case st.IsDir():
		stats.Dirs++
		h.Name += "/"
	case st.Mode().IsRegular():
		if data, err = g.disk.read(at, 0); err != nil {
			return err
		}
		h.Size = int64(len(data))
		fallthrough
	default:
		stats.Files++
		stats.Bytes += int64(len(data))
	}
	if opt.MaxBytes > 0 && stats.Bytes > opt.MaxBytes || opt.MaxFiles > 0 && int64(stats.Files+stats.Dirs) > opt.MaxFiles {
		return fmt.Errorf("%s: more than %d bytes or %d files", name, opt.MaxBytes, opt.MaxFiles)
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
