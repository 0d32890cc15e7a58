package guest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// OS is the System of a running Linux. The zero value works, but then commands
// have no cgroup of their own: what has left a command's session is not found.
type OS struct {
	// Cgroup is a folder of a cgroup v2 hierarchy that belongs to the agent; each
	// command gets a cgroup below it. See OwnCgroup. Empty: none.
	Cgroup string

	cgroups   cgroupPool
	rehearsal sync.WaitGroup
}

var _ System = (*OS)(nil)

// Receive implements System.
func (o *OS) Receive(ctx context.Context, path string, opt PushOptions, tar io.Reader) (TransferStats, error) {
	owner, full, err := target(path, opt.User)
	if err != nil {
		return TransferStats{}, err
	}
	u := unpacker{ctx: ctx, owner: owner, bound: PullOptions{MaxBytes: 1 << 50, MaxFiles: 1 << 40}}
	return u.unpack(tar, full, "")
}

// target resolves a path, and who is to own what is made there. The owner is nil
// where it needs no mention.
func target(path, user string) (*account, string, error) {
	a, err := lookup(user)
	if err != nil {
		return nil, "", err
	}
	full, err := expand(path, user)
	if err != nil {
		return nil, "", err
	}
	if a.uid == os.Getuid() && os.Getuid() != 0 {
		a = nil
	}
	return a, full, nil
}

// Send implements System.
func (o *OS) Send(ctx context.Context, path string, opt PullOptions, tar io.Writer) (TransferStats, error) {
	full, err := expand(path, "")
	if err != nil {
		return TransferStats{}, err
	}
	p := packer{ctx: ctx, bound: opt, large: largeReader}
	return p.pack(filepath.Clean(full), baseName(filepath.Clean(full)), tar)
}

// ReadFile implements System.
func (o *OS) ReadFile(ctx context.Context, path string, limit int64) ([]byte, error) {
	full, err := expand(path, "")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(full)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: got %s, want a file", full, info.Mode().Type())
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readAll(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", full, err)
	}
	return b, nil
}

// WriteFile implements System. The file appears whole or not at all.
func (o *OS) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode, user string) error {
	owner, full, err := target(path, user)
	if err != nil {
		return err
	}
	if strings.HasSuffix(full, "/") {
		return fmt.Errorf("%s: got a folder, want a file", full)
	}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		full = real // a link stays a link
	}
	if err := makeParents(filepath.Dir(full), owner); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(full), ".assay-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = owner.own(f.Chown)
	}
	if err == nil {
		err = f.Chmod(mode.Perm())
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), full)
}
