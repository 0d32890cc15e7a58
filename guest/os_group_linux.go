package guest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A group is everything that a command started: a cgroup of its own or, where
// there are none, its session and what descends from it.
type group interface {
	// lead is told the command's first process.
	lead(pid int)
	// pids returns who is left. Zombies are not.
	pids() []int
	// kill kills everybody, and whoever they start meanwhile.
	kill()
	// sample is called now and then while the command runs.
	sample()
	// usage returns what the group used so far; zeros where nobody knows.
	usage() (cpu time.Duration, peakMemory int64)
	// release is called once, when the command is over; who is left lives on.
	release()
}

// newGroup makes a group for a command that is about to start with attr.
func (o *OS) newGroup(attr *syscall.SysProcAttr) group {
	if o.Cgroup != "" {
		if g, err := o.cgroups.open(o.Cgroup); err == nil {
			attr.UseCgroupFD, attr.CgroupFD = true, int(g.dir.Fd())
			return g
		}
	}
	return &sessionGroup{}
}

// killRounds bounds the attempts to kill what keeps starting children.
const killRounds = 200

// killAll kills what list returns until it returns nobody.
func killAll(list func() []int) {
	for range killRounds {
		pids := list()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A cgroup is a group that nothing leaves.
type cgroup struct {
	path string
	dir  *os.File
	pool *cgroupPool
	peak int64 // of the samples: Linux tells its own since 5.19
}

// removeCgroup removes a cgroup and those below it. One with processes stays.
func removeCgroup(path string) error {
	for _, child := range childCgroups(path) {
		removeCgroup(child)
	}
	return syscall.Rmdir(path)
}

// maxCgroups bounds how many cgroups below a command's are looked at.
const maxCgroups = 1000

// childCgroups returns the folders in a cgroup.
func childCgroups(path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if e.IsDir() && len(list) < maxCgroups {
			list = append(list, filepath.Join(path, e.Name()))
		}
	}
	return list
}

func (g *cgroup) lead(int) {}

func (g *cgroup) pids() []int {
	if populated, known := g.populated(); known && !populated {
		return nil
	}
	return pidsBelow(g.path, 0)
}

// populated asks the kernel whether anybody is in the cgroup or below it.
func (g *cgroup) populated() (populated, known bool) {
	b, err := os.ReadFile(filepath.Join(g.path, "cgroup.events"))
	if err != nil {
		return false, false
	}
	return strings.Contains(string(b), "populated 1"), true
}

// pidsBelow lists the processes of a cgroup and of those below it.
func pidsBelow(path string, depth int) []int {
	b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	var pids []int
	for field := range strings.FieldsSeq(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	if depth < maxTreeDepth {
		for _, child := range childCgroups(path) {
			pids = append(pids, pidsBelow(child, depth+1)...)
		}
	}
	return pids
}

// kill uses cgroup.kill (Linux 5.14). Before that the cgroup is frozen, so that
// nobody forks away from the signals.
func (g *cgroup) kill() {
	if writeCgroup(g.path, "cgroup.kill", "1") == nil {
		return
	}
	writeCgroup(g.path, "cgroup.freeze", "1")
	killAll(g.pids)
	writeCgroup(g.path, "cgroup.freeze", "0")
}

func (g *cgroup) usage() (cpu time.Duration, peak int64) {
	stat, _ := os.ReadFile(filepath.Join(g.path, "cpu.stat"))
	for line := range strings.Lines(string(stat)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			cpu = time.Duration(n) * time.Microsecond
		}
	}
	if peak, ok := g.number("memory.peak"); ok {
		return cpu, peak
	}
	g.sample()
	return cpu, g.peak
}

func (g *cgroup) sample() {
	if now, ok := g.number("memory.current"); ok {
		g.peak = max(g.peak, now)
	}
}

// number reads a file that holds one.
func (g *cgroup) number(file string) (int64, bool) {
	b, err := os.ReadFile(filepath.Join(g.path, file))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

func (g *cgroup) release() {
	g.dir.Close()
	g.pool.released(g.path)
}
