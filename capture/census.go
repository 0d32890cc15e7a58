package capture

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"sync"
)

// census is what the collectors of processes and of sockets both need, looked up
// once for both.
type census struct {
	once     sync.Once
	programs []program         // in ascending order
	users    map[uint32]string // names by number
}

// program is a process that runs a file.
type program struct {
	pid int
	exe string // the kernel's name of the file; empty: not ours to see
}

// take counts the programs on src, at the first call. A kernel's thread runs no
// file, nor does what has ended: to ask for its name is the cheapest way to know.
func (c *census) take(src Source, out *Sink) *census {
	c.once.Do(func() {
		c.users = idNames(src, "/etc/passwd")
		for _, pid := range pids(src, out) {
			exe, err := src.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			if err == nil || !errors.Is(err, fs.ErrNotExist) && !gone(err) {
				c.programs = append(c.programs, program{pid, exe})
			}
		}
	})
	return c
}

// pids returns the numbers in /proc, ascending.
func pids(src Source, out *Sink) []int {
	var found []int
	for _, name := range entriesOf(src, out, "processes", "/proc") {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			found = append(found, pid)
		}
	}
	slices.Sort(found)
	return found
}

// kernelReader is a Source that knows short cuts to what the kernel tells.
type kernelReader interface {
	// readOne reads a file that gives all it has, at most 1 MiB, to one read.
	readOne(p string) ([]byte, error)
	// linksIn returns where the links in a folder point, in the folder's order.
	linksIn(dir string) ([]string, error)
}

// maxOne is how long a file of the kernel may be that is read at once: an argv.
const maxOne = 1 << 20

func (s source) readOne(p string) ([]byte, error) {
	if k, ok := s.Source.(kernelReader); ok {
		return k.readOne(p)
	}
	return s.ReadFile(p, maxOne)
}

func (s source) linksIn(dir string) ([]string, error) {
	if k, ok := s.Source.(kernelReader); ok {
		return k.linksIn(dir)
	}
	found, err := s.ReadDir(dir)
	var targets []string
	for _, e := range found {
		if target, err := s.Readlink(path.Join(dir, e.Name())); err == nil {
			targets = append(targets, target)
		}
	}
	return targets, err
}
