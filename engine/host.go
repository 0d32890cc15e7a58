package engine

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"assay"
)

// thisHost describes the machine that assay runs on.
func thisHost() assay.Host {
	h := assay.Host{OS: osName(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Memory: memory("MemTotal")}
	h.Name, _ = os.Hostname() // no name is a name too
	return h
}

// capacity fills the zero fields of c with what the host has to give now.
func (c Capacity) measured() Capacity {
	if c.CPUs == 0 {
		c.CPUs = runtime.NumCPU()
	}
	if c.Memory == 0 {
		c.Memory = memory("MemAvailable")
	}
	return c
}

// memory returns a line of /proc/meminfo in bytes, or, where there is none, all
// the memory there is.
func memory(line string) int64 {
	if text, ok := field("/proc/meminfo", line+":"); ok {
		n, err := strconv.ParseInt(strings.TrimSuffix(text, " kB"), 10, 64)
		if err == nil {
			return n << 10
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

func osName() string {
	if name, ok := field("/etc/os-release", "PRETTY_NAME="); ok {
		return strings.Trim(name, `"`)
	}
	return runtime.GOOS
}

// field returns what follows prefix in the first line of file that begins with it.
func field(file, prefix string) (string, bool) {
	f, err := os.Open(file)
	if err != nil {
		return "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			return strings.TrimSpace(rest), true
		}
	}
	return "", false
}
