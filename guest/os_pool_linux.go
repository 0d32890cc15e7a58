package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A cgroupPool makes cgroups for commands and removes those that have emptied.
// Both cost a translated guest more than the rest of a short command, so they
// happen while nothing runs: some cgroups lie ready, and those that were used
// wait for their removal.
type cgroupPool struct {
	mu      sync.Mutex
	parent  string
	last    int
	running int       // commands that have a cgroup now
	ready   []*cgroup // never used
	stale   []string  // released; some may still have somebody in them
	idle    *time.Timer
}

const (
	spareCgroups = 4
	maxStale     = 32                     // more are removed without waiting for quiet
	poolQuiet    = 250 * time.Millisecond // without a command, until the pool is tidied
)

// open returns a cgroup below parent.
func (c *cgroupPool) open(parent string) (*cgroup, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parent = parent
	if n := len(c.ready); n > 0 {
		g := c.ready[n-1]
		c.ready = c.ready[:n-1]
		c.running++
		return g, nil
	}
	g, err := c.add()
	if err == nil {
		c.running++
	}
	return g, err
}

// add makes a cgroup. The caller holds the lock.
func (c *cgroupPool) add() (*cgroup, error) {
	c.last++
	path := filepath.Join(c.parent, "exec-"+strconv.Itoa(c.last))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &cgroup{path: path, dir: dir, pool: c}, nil
}

// released takes back a cgroup whose command is over.
func (c *cgroupPool) released(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.stale = append(c.stale, path)
	switch {
	case len(c.stale) > maxStale:
		go c.tidy()
	case c.running > 0:
	case c.idle == nil:
		c.idle = time.AfterFunc(poolQuiet, c.tidy)
	default:
		c.idle.Reset(poolQuiet)
	}
}

// tidy removes what has emptied and makes new ones. The lock is held for one of
// them at a time, so that a command never waits long.
func (c *cgroupPool) tidy() {
	c.mu.Lock()
	old := c.stale
	c.stale = nil
	c.mu.Unlock()
	old = slices.DeleteFunc(old, func(path string) bool { return removeCgroup(path) == nil })
	c.mu.Lock()
	c.stale = append(c.stale, old...)
	c.mu.Unlock()
	for c.refill() {
	}
}

// refill makes one cgroup for later, and reports whether another is wanted.
func (c *cgroupPool) refill() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) >= spareCgroups {
		return false
	}
	g, err := c.add()
	if err != nil {
		return false
	}
	c.ready = append(c.ready, g)
	return true
}
