package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
)

// Push copies a host file or tree to guestPath, by the rules of cp -r: if
// guestPath ends in a slash or is a folder, the copy lands in it under its own
// name; else the copy gets that name. Missing parents are made; what is made
// belongs to opt.User. Modes are kept, but for setuid and setgid; times are not. Files replace files and
// links of their name; folders merge. Links are copied as links, but for
// hostPath itself, which is followed. What is neither file, folder nor link is
// left out and named in Skipped. After an error part of the tree may be there.
func (c *Client) Push(ctx context.Context, hostPath, guestPath string, opt PushOptions) (TransferStats, error) {
	var stats TransferStats
	abs, err := filepath.Abs(hostPath)
	if err != nil {
		return stats, err
	}
	packed := make(chan []string, 1)
	feed := func(w io.Writer) error {
		p, err := pack(ctx, abs, baseName(filepath.ToSlash(abs)), PullOptions{MaxBytes: 1 << 50, MaxFiles: 1 << 40}, w)
		packed <- p.Skipped
		return err
	}
	args := pushArgs{guestPath, opt}
	if err := c.call(ctx, request{method: methodPush, args: args, feed: feed, result: &stats}); err != nil {
		return TransferStats{}, withoutInput(err)
	}
	stats.Skipped = append(<-packed, stats.Skipped...)
	stats.bound()
	return stats, nil
}

// withoutInput leaves the words of a tree that could not be read to speak for
// themselves.
func withoutInput(err error) error {
	if in := (*inputError)(nil); errors.As(err, &in) {
		return in.error
	}
	return err
}

// Pull copies a guest file or tree to hostPath, by the rules of cp -r, as Push
// does the other way. It writes below hostPath and nowhere else, whatever the
// guest says, and follows no link there. Links that lead out of the tree are left
// out and named in Skipped, with what is neither file, folder nor link. A missing
// guestPath is fs.ErrNotExist, a tree past opt's bounds ErrLimit.
func (c *Client) Pull(ctx context.Context, guestPath, hostPath string, opt PullOptions) (TransferStats, error) {
	var theirs TransferStats
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	u := unpacker{ctx: ctx, bound: opt, inside: true}
	go func() { unpacked <- u.receive(r, hostPath, baseName(guestPath)) }()
	err := c.call(ctx, request{method: methodPull, args: pullArgs{guestPath, opt}, out: w, result: &theirs})
	w.CloseWithError(err) // nil: io.EOF
	uerr := <-unpacked
	switch remote := (*Error)(nil); {
	case errors.As(err, &remote) || uerr == nil && err != nil:
		return TransferStats{}, err
	case uerr != nil:
		return TransferStats{}, uerr
	}
	u.stats.Skipped = append(u.stats.Skipped, theirs.Skipped...)
	u.stats.bound()
	return u.stats, nil
}

// maxTrailer is what may follow the end of a tar stream.
const maxTrailer = 64 << 10

// receive unpacks r, and reads it to its end so that the sender can finish.
func (u *unpacker) receive(r *io.PipeReader, dest, base string) error {
	_, err := u.unpack(r, dest, base)
	if err == nil {
		var n int64
		if n, err = io.Copy(io.Discard, io.LimitReader(r, maxTrailer)); n == maxTrailer {
			err = fmt.Errorf("tar: got more than %d bytes after its end", maxTrailer)
		}
	}
	r.CloseWithError(err)
	return err
}

// baseName is the name that a copy of p gets in a folder. What has none of its
// own, such as / or ~, is called "guest": the other end must not choose it.
func baseName(p string) string {
	base := path.Base(p)
	if base == "." || base == ".." || base == "/" || strings.HasPrefix(p, "~") && !strings.Contains(strings.TrimRight(p, "/"), "/") {
		return "guest"
	}
	return base
}
