package engine

import (
	"bufio"
	"os"
	"runtime"
	"strings"

	"assay"
	"assay/platform"
)

// thisHost describes the machine that assay runs on.
func thisHost() assay.Host {
	all, _ := platform.Memory()
	h := assay.Host{OS: osName(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Memory: all}
	h.Name, _ = os.Hostname() // no name is a name too
	return h
}

// capacity fills the zero fields of c with what the host has to give now.
func (c Capacity) measured() Capacity {
	if c.CPUs == 0 {
		c.CPUs = runtime.NumCPU()
	}
	if c.Memory == 0 {
		_, c.Memory = platform.Memory()
	}
	return c
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
