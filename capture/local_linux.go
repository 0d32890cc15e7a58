package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"assay/disk"
)

// Local returns the running system as a source. It leaves no access times behind
// and lets no link lead a walk astray.
func Local() Source { return &local{children: map[int]bool{}} }

type local struct {
	mu       sync.Mutex
	children map[int]bool // processes that Run has running
}

// openFlags are for every open: never wait for a FIFO or a device, never become a
// controlling terminal's owner.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY

// openPath opens p. Only the owner or root may leave the access time as it is.
func openPath(p string, flags int, resolve uint64) (int, error) {
	for {
		fd, err := unix.Openat2(unix.AT_FDCWD, p, &unix.OpenHow{Flags: uint64(openFlags | unix.O_NOATIME | flags), Resolve: resolve})
		if err == unix.ENOSYS || err == unix.EINVAL {
			fd, err = unix.Open(p, openFlags|unix.O_NOATIME|flags, 0)
		}
		if err == unix.EPERM {
			fd, err = unix.Open(p, openFlags|flags, 0)
		}
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: p, Err: err}
		}
		return fd, nil
	}
}

// open streams a regular file. No element of p may be a link: a walk meets none,
// so one that is there now was put there meanwhile.
func (l *local) open(p string) (io.ReadCloser, error) {
	fd, err := openPath(p, unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, err
	}
	return regular(fd, p)
}

// regular wraps an open file, if it is one.
func regular(fd int, p string) (*os.File, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil && st.Mode&typeMask != typeFile {
		err = errors.New("not a regular file")
	}
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

func (l *local) ReadFile(p string, limit int64) ([]byte, error) {
	fd, err := openPath(p, 0, 0)
	if err != nil {
		return nil, err
	}
	return slurp(fd, p, limit)
}

func (l *local) Readlink(p string) (string, error) { return os.Readlink(p) }

func (l *local) Lstat(p string) (Stat, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return Stat{}, &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	return statOf(&st), nil
}

// statInfo is statOf for what package os returns.
func statInfo(info fs.FileInfo) Stat {
	st := info.Sys().(*syscall.Stat_t)
	return Stat{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, Held: st.Blocks * 512, Ino: st.Ino, Nlink: uint64(st.Nlink),
		Dev: uint64(st.Dev), Rdev: uint64(st.Rdev), Mtime: disk.Nanoseconds(st.Mtim.Unix()), Ctime: disk.Nanoseconds(st.Ctim.Unix()),
	}
}

func statOf(st *unix.Stat_t) Stat {
	return Stat{
		Mode: st.Mode, UID: st.Uid, GID: st.Gid, Size: st.Size, Held: st.Blocks * 512, Ino: st.Ino, Nlink: uint64(st.Nlink),
		Dev: uint64(st.Dev), Rdev: uint64(st.Rdev), Mtime: disk.Nanoseconds(st.Mtim.Unix()), Ctime: disk.Nanoseconds(st.Ctim.Unix()),
	}
}

// list describes a folder through its descriptor, so that nobody can swap the
// folder for another between its entries.
func (l *local) list(dir string) ([]entry, error) {
	fd, err := openPath(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	names, err := readNames(fd)
	prefix := strings.TrimSuffix(dir, "/") + "/"
	entries := make([]entry, 0, len(names))
	for _, name := range names {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			continue // gone meanwhile
		}
		e := entry{path: prefix + name, stat: statOf(&st)}
		if st.Mode&typeMask == typeLink {
			e.target = readlinkAt(fd, name)
		}
		entries = append(entries, e)
	}
	return entries, err
}

// readNames reads a folder's names; what was read before an error is returned with it.
func readNames(fd int) ([]string, error) {
	buf := make([]byte, 32<<10)
	var names []string
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
		if len(names) > maxRecords {
			return names[:maxRecords], fmt.Errorf("more than %d names", maxRecords)
		}
	}
}

func readlinkAt(fd int, name string) string {
	buf := make([]byte, maxPath)
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func (l *local) Xattrs(p string) (map[string][]byte, error) { return lxattrs(p) }

// lxattrs reads a path's extended attributes, without following it.
func lxattrs(p string) (map[string][]byte, error) {
	var small [1024]byte
	list := small[:]
	n, err := unix.Llistxattr(p, list)
	if err == unix.ERANGE {
		list = make([]byte, 64<<10) // the kernel's own bound
		n, err = unix.Llistxattr(p, list)
	}
	if err != nil || n == 0 {
		if err == unix.ENOTSUP {
			err = nil
		}
		return nil, err
	}
	found := map[string][]byte{}
	value := make([]byte, 64<<10)
	for name := range bytes.SplitSeq(list[:n-1], []byte{0}) {
		if n, err := unix.Lgetxattr(p, string(name), value); err == nil {
			found[string(name)] = bytes.Clone(value[:n])
		}
	}
	return found, nil
}

// runTimeout bounds one program that a collector runs.
const runTimeout = 30 * time.Second

// maxOutput is how much a program may print.
const maxOutput = 16 << 20

func (l *local) Run(ctx context.Context, argv ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var stdout, stderr bounded
	stdout.room, stderr.room = maxOutput, 4096
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := l.run(cmd)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s: %w", argv[0], errors.ErrUnsupported)
	case err != nil:
		return stdout.buf.Bytes(), fmt.Errorf("%s: %w: %s", argv[0], err, cut(Escape(stderr.buf.String()), 400))
	case stdout.cut:
		return stdout.buf.Bytes(), fmt.Errorf("%s: printed more than %d bytes", argv[0], maxOutput)
	}
	return stdout.buf.Bytes(), nil
}

// run runs cmd, which no process collector shall take for the guest's own.
func (l *local) run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	l.child(cmd.Process.Pid, true)
	defer l.child(cmd.Process.Pid, false)
	return cmd.Wait()
}

func (l *local) child(pid int, running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if running {
		l.children[pid] = true
	} else {
		delete(l.children, pid)
	}
}

// own reports whether a process is the agent or one that it runs for a collector.
func (l *local) own(pid int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return pid == os.Getpid() || l.children[pid]
}

// bounded keeps the first room bytes that are written to it.
type bounded struct {
	buf  bytes.Buffer // not embedded: its ReadFrom would know no bound
	room int
	cut  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.buf.Write(p[:n])
	b.room -= n
	b.cut = b.cut || n < len(p)
	return len(p), nil
}
