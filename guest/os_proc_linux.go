package guest

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"assay"
)

// A sessionGroup is a session and whatever descends from its leader. A process
// that has left the session and lost its parent is not found: a cgroup is better.
type sessionGroup struct {
	leader int
	known  map[int]bool // found before; whoever is in it stays found
}

func (g *sessionGroup) lead(pid int) { g.leader, g.known = pid, map[int]bool{pid: true} }

func (g *sessionGroup) pids() []int {
	all := procTable()
	for grown := true; grown; {
		grown = false
		for pid, st := range all {
			if !g.known[pid] && (st.session == g.leader || g.known[st.ppid]) {
				g.known[pid], grown = true, true
			}
		}
	}
	var left []int
	for pid := range g.known {
		if st, ok := all[pid]; ok && !st.dead() {
			left = append(left, pid)
		}
	}
	return left
}

func (g *sessionGroup) kill() {
	for _, pid := range g.pids() {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	killAll(g.pids)
}

func (g *sessionGroup) sample()                       {}
func (g *sessionGroup) usage() (time.Duration, int64) { return 0, 0 }
func (g *sessionGroup) release()                      {}

// procStat is the part of /proc/PID/stat that matters here.
type procStat struct {
	comm          string
	state         byte
	ppid, session int
}

func (s procStat) dead() bool { return s.state == 'Z' || s.state == 'X' }

// anyBusy reports whether one of pids runs, or would if it got a processor.
func anyBusy(pids []int) bool {
	for _, pid := range pids {
		if st, ok := readProcStat(pid); ok && (st.state == 'R' || st.state == 'D') {
			return true
		}
	}
	return false
}

// procTable reads every process's procStat.
func procTable() map[int]procStat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	all := map[int]procStat{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, ok := readProcStat(pid); ok {
			all[pid] = st
		}
	}
	return all
}

// readProcStat reads one; a program's name may hold any byte, so the last
// parenthesis ends it.
func readProcStat(pid int) (procStat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if err != nil || begin < 0 || end < begin {
		return procStat{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 4 {
		return procStat{}, false
	}
	st := procStat{comm: string(b[begin+1 : end]), state: f[0][0]}
	st.ppid, _ = strconv.Atoi(f[1])
	st.session, _ = strconv.Atoi(f[3])
	return st, true
}

// processes describes pids, at most maxOrphans of them, without zombies.
func processes(pids []int) []assay.Process {
	if len(pids) == 0 {
		return nil
	}
	names := userNames()
	slices.Sort(pids)
	var list []assay.Process
	for _, pid := range pids {
		if p, ok := describe(pid, names); ok && len(list) < maxOrphans {
			list = append(list, p)
		}
	}
	return list
}

// describe reads what a person wants to know of a process.
func describe(pid int, names map[int]string) (assay.Process, bool) {
	st, ok := readProcStat(pid)
	if !ok || st.dead() {
		return assay.Process{}, false
	}
	p := assay.Process{PID: pid, PPID: st.ppid, Command: "[" + st.comm + "]"}
	if argv := commandLine(pid); argv != "" {
		p.Command = argv
	}
	if info, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		if sys, ok := info.Sys().(*syscall.Stat_t); ok {
			p.User = names[int(sys.Uid)]
			if p.User == "" {
				p.User = strconv.Itoa(int(sys.Uid))
			}
		}
	}
	return p, true
}

// maxCommand bounds a process's command line.
const maxCommand = 1024

// commandLine returns a process's argv, joined by spaces.
func commandLine(pid int) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	defer f.Close()
	buf := make([]byte, maxCommand)
	n, _ := f.Read(buf)
	line := strings.ReplaceAll(strings.TrimRight(string(buf[:n]), "\x00"), "\x00", " ")
	return printable(line, maxCommand)
}

// ownScore is the agent's own oom_score_adj.
var ownScore = sync.OnceValue(func() string {
	b, _ := os.ReadFile("/proc/self/oom_score_adj")
	return strings.TrimSpace(string(b))
})

// expose takes from a command the protection from the OOM killer that it would
// inherit from the agent.
func expose(pid int) {
	if strings.HasPrefix(ownScore(), "-") {
		os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("0"), 0)
	}
}

// keepFiles keeps what the agent itself inherited from its commands. Go opens
// nothing that they would inherit.
var keepFiles = sync.OnceFunc(func() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
})
