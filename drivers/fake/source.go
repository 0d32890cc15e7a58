package fake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"assay"
	"assay/capture"
	"assay/guest"
)

// source shows a fake guest to the collectors. What a kernel would tell of
// processes it makes up from the process table.
type source struct{ g *system }

var _ capture.Source = source{}

// process finds the process and the file that a path below /proc names.
func (s source) process(p string) (proc assay.Process, file string, ok bool) {
	rest, ok := strings.CutPrefix(path.Clean(p), "/proc/")
	if !ok {
		return proc, "", false
	}
	first, file, _ := strings.Cut(rest, "/")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return proc, "", false
	}
	for _, proc := range s.g.procs.list(0) {
		if proc.PID == pid {
			return proc, file, true
		}
	}
	return assay.Process{PID: -1}, file, true
}

// procFiles are the files of a process that collectors read.
var procFiles = map[string]func(p assay.Process, uid int) string{
	"cmdline": func(p assay.Process, _ int) string { return strings.ReplaceAll(p.Command, " ", "\x00") + "\x00" },
	"comm":    func(p assay.Process, _ int) string { return comm(p) + "\n" },
	"stat": func(p assay.Process, _ int) string {
		return fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %d 1048576 256\n", p.PID, comm(p), p.PPID, p.PID, p.PID, 100+p.PID)
	},
	"status": func(p assay.Process, uid int) string {
		return fmt.Sprintf("Name:\t%s\nState:\tS (sleeping)\nPid:\t%d\nPPid:\t%d\nUid:\t%d\t%d\t%d\t%d\nGid:\t%d\t%d\t%d\t%d\nVmRSS:\t1024 kB\n",
			comm(p), p.PID, p.PPID, uid, uid, uid, uid, uid, uid, uid, uid)
	},
	"cgroup": func(p assay.Process, _ int) string { return "0::/system.slice/fake.service\n" },
}

func comm(p assay.Process) string {
	word, _, _ := strings.Cut(p.Command, " ")
	return path.Base(word)
}

// ReadFile implements capture.Source.
func (s source) ReadFile(p string, limit int64) ([]byte, error) {
	if proc, file, ok := s.process(p); ok {
		make := procFiles[file]
		if proc.PID < 0 || make == nil {
			return nil, pathError("open", p, fs.ErrNotExist)
		}
		u, _ := s.g.user(proc.User)
		return []byte(make(proc, u.uid)), nil
	}
	data, err := s.g.disk.read(p, 0)
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: got %d bytes, want at most %d", p, len(data), limit)
	}
	return data, err
}

// ReadDir implements capture.Source.
func (s source) ReadDir(p string) ([]fs.DirEntry, error) {
	var entries []fs.DirEntry
	if proc, file, ok := s.process(p); ok {
		if proc.PID < 0 || file != "" {
			return nil, pathError("open", p, fs.ErrNotExist)
		}
		return nil, nil
	}
	list, err := s.g.disk.list(p, 0)
	for _, e := range list {
		entries = append(entries, e)
	}
	if path.Clean(p) == "/proc" {
		for _, proc := range s.g.procs.list(0) {
			dir := node{mode: fs.ModeDir | 0o555}
			entries = append(entries, dir.info(strconv.Itoa(proc.PID)))
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return entries, err
}

// Lstat implements capture.Source.
func (s source) Lstat(p string) (capture.Stat, error) {
	st, err := s.g.disk.stat(p, false)
	if err != nil {
		return capture.Stat{}, err
	}
	return capture.Stat{
		Mode: unixMode(st.Mode()), UID: uint32(st.uid), GID: uint32(st.gid), Size: st.size,
		Ino: st.ino, Nlink: 1, Dev: device(p), Mtime: st.mtime.UnixNano(), Ctime: st.ctime.UnixNano(),
	}, nil
}

// device tells the kernel's file systems from the disk.
func device(p string) uint64 {
	for i, mount := range []string{"/proc", "/sys", "/dev", "/run"} {
		if p == mount || strings.HasPrefix(p, mount+"/") {
			return uint64(2 + i)
		}
	}
	return 1
}

// unixMode is st_mode.
func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, bit := range []struct {
		have fs.FileMode
		want uint32
	}{{fs.ModeSetuid, syscall.S_ISUID}, {fs.ModeSetgid, syscall.S_ISGID}, {fs.ModeSticky, syscall.S_ISVTX}} {
		if m&bit.have != 0 {
			mode |= bit.want
		}
	}
	switch {
	case m.IsDir():
		return mode | syscall.S_IFDIR
	case m&fs.ModeSymlink != 0:
		return mode | syscall.S_IFLNK
	}
	return mode | syscall.S_IFREG
}

// Readlink implements capture.Source.
func (s source) Readlink(p string) (string, error) { return s.g.disk.readlink(p) }

// Xattrs implements capture.Source. A fake disk keeps none.
func (s source) Xattrs(string) (map[string][]byte, error) { return nil, nil }

// Run implements capture.Source with the words of the guest.
func (s source) Run(ctx context.Context, argv ...string) ([]byte, error) {
	var out, complaint bytes.Buffer
	exit, err := s.g.Exec(ctx, guest.Command{Argv: argv, User: "root"}, guest.Streams{Stdout: &out, Stderr: &complaint})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &exec.Error{Name: argv[0], Err: exec.ErrNotFound}
	case err == nil && exit.Code != 0:
		err = fmt.Errorf("%s: exit code %d: %s", argv[0], exit.Code, strings.TrimSpace(complaint.String()))
	}
	data, _ := io.ReadAll(io.LimitReader(&out, 16<<20))
	return data, err
}
