package qemu

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// dieWithParent makes the kernel kill the child when the thread that forked it
// ends. The Go runtime closes the race with a parent that dies before the
// child asks for this. A session of its own makes the kernel give each QEMU the
// same share of the processors, however many threads are busy in it (autogroups).
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
}

// bootID names this boot of the host.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id))
}

// procStat is what /proc/PID/stat says of a process.
type procStat struct {
	start uint64 // clock ticks after boot
	ticks uint64 // of CPU, user and system
	state byte
}

// readStat reads /proc/PID/stat. The name in it may hold anything, so fields
// are counted from its last parenthesis.
func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

func parseStat(data []byte) (procStat, error) {
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("stat: got %d fields, want at least 20", len(fields))
	}
	var n [3]uint64
	for i, at := range []int{11, 12, 19} { // utime, stime, starttime
		v, err := strconv.ParseUint(string(fields[at]), 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("stat: %w", err)
		}
		n[i] = v
	}
	return procStat{start: n[2], ticks: n[0] + n[1], state: fields[0][0]}, nil
}

// starved returns how long the most neglected thread of a process has been
// ready to run while others ran; 0 on kernels that do not tell.
func starved(pid int) time.Duration {
	files, err := filepath.Glob(procPath(pid, "task/*/schedstat"))
	if err != nil {
		return 0
	}
	var longest time.Duration
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		longest = max(longest, parseDelay(data))
	}
	return longest
}

// parseDelay reads the second of schedstat's three numbers, in nanoseconds.
func parseDelay(schedstat []byte) time.Duration {
	fields := bytes.Fields(schedstat)
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n)
}

// readArgs reads the command line of a process.
func readArgs(pid int) ([]string, error) {
	data, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return nil, err
	}
	var args []string
	for arg := range bytes.SplitSeq(data, []byte{0}) {
		args = append(args, string(arg))
	}
	return args, nil
}

// residentMemory returns a process's proportional set size in bytes.
func residentMemory(pid int) (int64, error) {
	data, err := os.ReadFile(procPath(pid, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	return kiloField(data, "Pss:")
}

// kiloField finds "NAME  123 kB" in a file of /proc and returns it in bytes.
func kiloField(data []byte, name string) (int64, error) {
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == name {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("/proc: got no line %q", name)
}

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
