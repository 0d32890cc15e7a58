package capture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// processes observes running programs. The kernel's threads are none, and
// neither are the agent and what it runs to observe.
type processes struct{ census *census }

func (processes) Name() string    { return "processes" }
func (processes) Kinds() []string { return []string{Process} }
func (processes) Live() bool      { return true }

// selfish is a Source that knows which processes are the observer's own.
type selfish interface{ own(pid int) bool }

func (c processes) Collect(ctx context.Context, src Source, out *Sink) error {
	all := c.census.take(src, out)
	for _, p := range all.programs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s, ok := src.(selfish); ok && s.own(p.pid) {
			continue
		}
		r, err := p.read(source{src}, all.users)
		switch {
		case err == nil:
			out.Add(r)
		case !errors.Is(err, errNoProcess) && !errors.Is(err, fs.ErrNotExist) && !gone(err):
			out.Problem("processes: %d: %s", p.pid, cause(err))
		}
	}
	return nil
}

// errNoProcess is what readProcess says of the kernel's threads and of the dead.
var errNoProcess = errors.New("not a program")

// gone reports whether a process ended while it was read.
func gone(err error) bool { return strings.Contains(cause(err), "no such process") }

// kernelThread is the flag PF_KTHREAD of the ninth field of stat.
const kernelThread = 0x00200000

// read observes one process.
func (p program) read(src source, users map[uint32]string) (Record, error) {
	dir := fmt.Sprintf("/proc/%d/", p.pid)
	stat, err := src.readOne(dir + "stat")
	if err != nil {
		return Record{}, err
	}
	comm, ppid, flags, state := parseStat(string(stat))
	if flags&kernelThread != 0 || state == "Z" || state == "X" {
		return Record{}, errNoProcess
	}
	status, err := src.readOne(dir + "status")
	if err != nil {
		return Record{}, err
	}
	user := userOf(string(status), users)
	argv, _ := src.readOne(dir + "cmdline")
	command := commandLine(string(argv), comm)
	exe, deleted := strings.CutSuffix(p.exe, " (deleted)")
	cgroup, _ := src.readOne(dir + "cgroup")
	a := attrs("pid", decimal(p.pid), "ppid", line(ppid), "user", user, "exe", line(exe), "cmdline", command, "cgroup", cgroupOf(string(cgroup)))
	if deleted {
		a["deleted"] = "yes"
	}
	return Record{Process, cut(user+": "+command, maxWord), a}, nil
}

// parseStat reads "12 (comm) S 1 12 12 0 -1 4194304 …"; comm may hold anything.
func parseStat(s string) (comm, ppid string, flags uint64, state string) {
	open, shut := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || shut < open {
		return "", "", 0, ""
	}
	f := strings.Fields(s[shut+1:])
	if len(f) < 7 {
		return s[open+1 : shut], "", 0, ""
	}
	flags, _ = strconv.ParseUint(f[6], 10, 64)
	return s[open+1 : shut], f[1], flags, f[0]
}

// userOf returns the name of the effective user, or its number.
func userOf(status string, names map[uint32]string) string {
	for l := range strings.Lines(status) {
		f := strings.Fields(l)
		if len(f) < 3 || f[0] != "Uid:" {
			continue
		}
		return userName(names, f[2])
	}
	return ""
}

// userName returns the name of a number's account, or the number.
func userName(names map[uint32]string, number string) string {
	uid, err := strconv.ParseUint(number, 10, 32)
	if name := names[uint32(uid)]; err == nil && name != "" {
		return name
	}
	return line(number)
}

// commandLine joins argv by spaces; a program that wiped it has "[comm]".
func commandLine(argv, comm string) string {
	argv = strings.TrimRight(argv, "\x00")
	if argv == "" {
		return "[" + line(comm) + "]"
	}
	return line(strings.ReplaceAll(argv, "\x00", " "))
}

// cgroupOf returns the path in the unified hierarchy, else in systemd's.
func cgroupOf(s string) string {
	best := ""
	for l := range strings.Lines(s) {
		f := strings.SplitN(strings.TrimSpace(l), ":", 3)
		if len(f) == 3 && (f[1] == "" || f[1] == "name=systemd" && best == "") {
			best = path.Clean("/" + f[2])
		}
	}
	return line(best)
}
