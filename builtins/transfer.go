package builtins

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.starlark.net/starlark"

	"assay/engine"
	"assay/guest"
)

type transferArgs struct {
	Src  place  `star:"src" help:"what to copy: a path of the host, or Machine.path(…)"`
	Dst  place  `star:"dst" help:"where to: the other of the two; an existing folder, or a path that ends in /, means into it"`
	User string `star:"user?" help:"owner of what is made in the guest; default: Machine.user"`
}

var transfer = engine.Func("transfer", "Transfer",
	"Copies a file or a folder into a guest or out of it, with modes and links; pipes, sockets,\n"+
		"devices and setuid bits are left out, named in the log and in the result's skipped.\n"+
		"A path of the host is one in the script's folder, or a parameter's. What comes out of a guest "+
		"is kept beside the results under the name that dst gives, unless dst is a parameter's path.",
	transferArgs{}, runTransfer)

func runTransfer(ctx context.Context, s *engine.Session, a transferArgs) (starlark.Value, error) {
	in, out := a.Dst.guest, a.Src.guest
	switch {
	case in == nil && out == nil:
		return nil, engine.Scriptf("transfer: got two paths of the host, want one of a guest; write vm.path(%q)", a.Dst.host)
	case in != nil && out != nil:
		return nil, engine.Scriptf("transfer: got two paths of guests, want one of the host")
	case in != nil:
		s.Describe(fmt.Sprintf("%s to %s", a.Src.host, in), in.machine.vm.ID())
		return push(ctx, s, a.Src.host, in, a.User)
	}
	s.Describe(fmt.Sprintf("%s to %s", out, a.Dst.host), out.machine.vm.ID())
	if a.User != "" {
		return nil, engine.Scriptf("transfer: for parameter user: got %q, want none when copying to the host", a.User)
	}
	return pull(ctx, s, out, a.Dst.host)
}

func push(ctx context.Context, s *engine.Session, src string, dst *GuestPath, user string) (starlark.Value, error) {
	host, err := s.HostPath(src)
	if err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	var stats guest.TransferStats
	err = dst.machine.use(ctx, func(c *guest.Client) (err error) {
		stats, err = c.Push(ctx, host, dst.path, guest.PushOptions{User: user})
		return err
	})
	remote := (*guest.Error)(nil)
	if errors.Is(err, fs.ErrNotExist) && !errors.As(err, &remote) {
		return nil, engine.Scriptf("transfer: %s: no such file on the host", src)
	}
	if err != nil {
		return nil, fmt.Errorf("transfer: %s: %w", src, err)
	}
	tell(s, stats)
	return &Transfer{stats, dst.path}, nil
}

// tell says what a transfer left out: else nobody would look.
func tell(s *engine.Session, stats guest.TransferStats) {
	for _, line := range stats.Skipped {
		s.Log("transfer: left out: " + line)
	}
}

// The bounds of what one transfer takes out of a guest.
const (
	maxPullBytes = 4 << 30
	maxPullFiles = 100_000
	maxArtifacts = 1000 // files of one pull that are kept beside the results
)

func pull(ctx context.Context, s *engine.Session, src *GuestPath, dst string) (starlark.Value, error) {
	host, kept, err := s.TargetPath(dst)
	if err != nil {
		return nil, fmt.Errorf("transfer: %w", err)
	}
	var stats guest.TransferStats
	err = src.machine.use(ctx, func(c *guest.Client) (err error) {
		stats, err = c.Pull(ctx, src.path, host, guest.PullOptions{MaxBytes: maxPullBytes, MaxFiles: maxPullFiles})
		return err
	})
	remote := (*guest.Error)(nil)
	switch {
	case errors.As(err, &remote) && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, guest.ErrLimit)):
		return nil, &engine.SubjectError{Err: fmt.Errorf("transfer: %s: %w", src, err)}
	case err != nil:
		return nil, fmt.Errorf("transfer: %s: %w", src, err)
	}
	tell(s, stats)
	if kept {
		err = keepFiles(s, dst, host)
	}
	return &Transfer{stats, host}, err
}

// keepFiles makes artifacts of the regular files at host.
func keepFiles(s *engine.Session, name, host string) error {
	n := 0
	return filepath.WalkDir(host, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if n++; n > maxArtifacts {
			return &engine.SubjectError{Err: fmt.Errorf("transfer: %s: got more than %d files, want fewer; pack them in the guest", name, maxArtifacts)}
		}
		rel, err := filepath.Rel(host, path)
		if err != nil {
			return err
		}
		_, err = s.Artifact(filepath.ToSlash(filepath.Join(name, rel)), path)
		return err
	})
}

// A place is an end of a transfer: a path of the host, or of a guest.
type place struct {
	host  string
	guest *GuestPath
}

// StarType implements engine.StarType.
func (place) StarType() string { return "str | GuestPath" }

// Unpack implements starlark.Unpacker.
func (p *place) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.String:
		if v == "" {
			return errors.New("got an empty path, want one")
		}
		p.host = string(v)
	case *GuestPath:
		p.guest = v
	default:
		return fmt.Errorf("got %s, want string or GuestPath", v.Type())
	}
	return nil
}

// A Transfer is what was copied, as scripts see it.
type Transfer struct {
	stats guest.TransferStats
	path  string
}

var transferType = &engine.Type{
	Name: "Transfer",
	Doc:  "What a transfer copied.",
	Attrs: []engine.Attr{
		engine.Field("files", "int", "The number of files, links included.", func(t *Transfer) starlark.Value { return starlark.MakeInt(t.stats.Files) }),
		engine.Field("dirs", "int", "The number of folders.", func(t *Transfer) starlark.Value { return starlark.MakeInt(t.stats.Dirs) }),
		engine.Field("bytes", "int", "The size of the files.", func(t *Transfer) starlark.Value { return starlark.MakeInt64(t.stats.Bytes) }),
		engine.Field("skipped", "list[str]", "What could not be copied, and why.", func(t *Transfer) starlark.Value { return stringList(t.stats.Skipped) }),
	},
}

// String returns what print shows.
func (t *Transfer) String() string {
	return fmt.Sprintf("<transfer of %d files, %d bytes>", t.stats.Files, t.stats.Bytes)
}

// Type returns "Transfer".
func (t *Transfer) Type() string { return "Transfer" }

// Freeze does nothing: a result never changes.
func (t *Transfer) Freeze() {}

// Truth returns True.
func (t *Transfer) Truth() starlark.Bool { return true }

// Hash fails: a result is not a key.
func (t *Transfer) Hash() (uint32, error) { return 0, unhashable(t) }

// Attr implements starlark.HasAttrs.
func (t *Transfer) Attr(name string) (starlark.Value, error) { return transferType.Attr(t, name) }

// AttrNames implements starlark.HasAttrs.
func (t *Transfer) AttrNames() []string { return transferType.AttrNames() }
